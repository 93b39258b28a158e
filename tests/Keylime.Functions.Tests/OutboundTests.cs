using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Hosting;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>Where the service goes on its own, and where it does not.</summary>
public sealed class OutboundTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_webhook_inside_the_walls_is_not_called()
    {
        await using var hook = await HookServer.StartAsync(200, """{"admit":true}""", 0);
        await using var service = await TestService.StartAsync();
        foreach (var url in (string[])[$"https://{hook.Authority}/", "https://169.254.169.254/", "https://localhost/", "https://[::1]/", "https://[::ffff:10.0.0.1]/", "https://10.0.0.1/"])
        {
            await service.PutRuleAsync("hook", new JsonObject { ["kind"] = "webhook", ["url"] = url, ["timeoutSeconds"] = 1 });
            using var agent = new TestAgent(service, $"node-{Guid.NewGuid():N}", new SoftwareTpm(TpmAlgorithm.Ecdsa));
            await agent.RegisterAsync();
            Assert.Contains("has an address that is not public", (await agent.NodeAsync())["node"]!["reason"]!.GetValue<string>(), StringComparison.Ordinal);
        }

        Assert.Empty(hook.Requests);
    }

    [Fact]
    public async Task A_missing_issuer_is_fetched_only_if_that_is_wanted_and_never_trusted_for_having_come()
    {
        using var intermediate = TestCertificates.MakeIntermediate();
        await using var server = await HookServer.StartAsync(200, intermediate.ExportCertificatePem(), 0);
        await using var rootServer = await HookServer.StartAsync(200, TestCertificates.OtherRoot.ExportCertificatePem(), 0);
        foreach (var (fetch, allowed, trusted) in ((bool, bool, bool)[])[(false, true, false), (true, false, false), (true, true, true)])
        {
            await using var service = await TestService.StartAsync(configure: o => o with
            {
                AcceptedIdentities = [],
                FetchIssuers = fetch,
                AllowedOutbound = allowed ? [server.Authority, rootServer.Authority] : [],
            });
            await service.TrustAsync(TestCertificates.Root.ExportCertificatePem());
            using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
            agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, intermediate, new EndorsementShape { IssuerUrl = server.Url }).ExportCertificatePem();
            var reply = await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration());
            Assert.Equal(trusted ? HttpStatusCode.OK : HttpStatusCode.Forbidden, reply.Status);

            // A root that comes over the network is nobody's.
            agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, TestCertificates.OtherRoot, new EndorsementShape { IssuerUrl = rootServer.Url }).ExportCertificatePem();
            Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/other", agent.Registration())).Status);
        }

        Assert.NotEmpty(server.Requests);
    }

    [Fact]
    public async Task A_name_is_looked_up_once_and_what_it_points_to_later_is_not_connected_to()
    {
        await using var inside = await HookServer.StartAsync(200, "secret", 0);
        var port = new Uri(inside.Url).Port;
        foreach (var answers in (string[][])[["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:127.0.0.1"], [], ["169.254.169.254"]])
            Assert.Contains("not public", await TryAsync((_, _) => Task.FromResult(answers.Select(IPAddress.Parse).ToArray()), TimeSpan.FromSeconds(5)), StringComparison.Ordinal);

        // The first answer is public (and nobody answers there), every later one is the loopback.
        var asked = 0;
        await TryAsync((_, _) => Task.FromResult<IPAddress[]>([Interlocked.Increment(ref asked) == 1 ? IPAddress.Parse("192.52.193.1") : IPAddress.Loopback]), TimeSpan.FromSeconds(1));
        Assert.Equal(1, asked);
        Assert.Empty(inside.Requests);

        async Task<string> TryAsync(Func<string, CancellationToken, Task<IPAddress[]>> resolve, TimeSpan timeout)
        {
            using var outbound = new Outbound(new ServiceOptions(), resolve);
            using var request = new HttpRequestMessage(HttpMethod.Get, $"http://rebind.example:{port}/");
            return (await Assert.ThrowsAsync<OutboundException>(() => outbound.SendAsync(request, plain: true, 1024, timeout, Cancel))).Message;
        }
    }

    [Fact]
    public async Task An_answer_that_comes_a_byte_at_a_time_is_not_waited_for()
    {
        using var listener = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var over = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var dripping = Task.Run(async () =>
        {
            using var client = await listener.AcceptTcpClientAsync(over.Token);
            await client.GetStream().WriteAsync("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n"u8.ToArray(), over.Token);
            while (!over.IsCancellationRequested)
            {
                await client.GetStream().WriteAsync(new byte[1], over.Token);
                await Task.Delay(50, over.Token);
            }
        }, over.Token);
        var authority = $"127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";
        using var outbound = new Outbound(new ServiceOptions { AllowedOutbound = [authority] });
        using var request = new HttpRequestMessage(HttpMethod.Get, $"http://{authority}/");
        var refused = await Assert.ThrowsAsync<OutboundException>(() => outbound.SendAsync(request, plain: true, 64 * 1024, TimeSpan.FromSeconds(1), Cancel));
        Assert.Contains("within 1 s", refused.Message, StringComparison.Ordinal);
        await over.CancelAsync();
        await Assert.ThrowsAnyAsync<Exception>(() => dripping);
    }

    [Fact]
    public async Task Nobody_waits_long_for_issuers_and_what_is_not_there_is_not_asked_for_again_at_once()
    {
        await using var slow = await HookServer.StartAsync(404, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AcceptedIdentities = [], FetchIssuers = true, AllowedOutbound = [slow.Authority] });
        using var intermediate = TestCertificates.MakeIntermediate();
        using var agent = new TestAgent(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey, intermediate, new EndorsementShape { IssuerUrl = slow.Url }).ExportCertificatePem();
        for (var i = 0; i < 5; i++)
            Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration())).Status);
        Assert.Single(slow.Requests);
        service.Clock.Advance(TimeSpan.FromSeconds(61));
        await service.Anonymous.SendAsync("POST", "/v2.6/agents/node", agent.Registration());
        Assert.Equal(2, slow.Requests.Count);
    }

    [Theory]
    [InlineData("8.8.8.8", true)]
    [InlineData("127.0.0.1", false)]
    [InlineData("0.0.0.0", false)]
    [InlineData("10.1.2.3", false)]
    [InlineData("100.64.0.1", false)]
    [InlineData("169.254.169.254", false)]
    [InlineData("168.63.129.16", false)]
    [InlineData("172.16.0.1", false)]
    [InlineData("172.32.0.1", true)]
    [InlineData("192.168.1.1", false)]
    [InlineData("198.18.0.1", false)]
    [InlineData("224.0.0.1", false)]
    [InlineData("255.255.255.255", false)]
    [InlineData("::1", false)]
    [InlineData("::", false)]
    [InlineData("fe80::1", false)]
    [InlineData("fd00::1", false)]
    [InlineData("ff02::1", false)]
    [InlineData("2001:db8::1", false)]
    [InlineData("2606:4700::1111", true)]
    [InlineData("::ffff:127.0.0.1", false)]
    [InlineData("::ffff:8.8.8.8", true)]
    [InlineData("64:ff9b::7f00:1", false)]
    [InlineData("64:ff9b::808:808", true)]
    [InlineData("2002:7f00:1::", false)]
    [InlineData("64:ff9b:1::808:808", false)]
    [InlineData("2001::1", false)]
    [InlineData("2001:2::1", false)]
    [InlineData("2001:10::1", false)]
    [InlineData("2001:4860:4860::8888", true)]
    [InlineData("3fff::1", false)]
    [InlineData("fd00:ec2::254", false)]
    [InlineData("::127.0.0.1", false)]
    [InlineData("100.100.100.200", false)]
    public void Addresses_inside_the_walls_are_told_from_public_ones(string address, bool isPublic) =>
        Assert.Equal(isPublic, Outbound.IsPublic(IPAddress.Parse(address)));
}

using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>Storage, files and the network around: bugs that peers shipped there, each by its advisory's number.</summary>
public sealed class HostingAdvisoryTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task CVE_2022_23952_GHSA_fchm_5w2v_qfm8_what_is_secret_is_for_its_owner_only()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        var secrets = Directory.EnumerateFiles(service.Folder, "*", SearchOption.AllDirectories).Where(HoldsSecret).Select(f => Path.GetRelativePath(service.Folder, f)).ToArray();
        foreach (var expected in (string[])["operator.token", "approver.token", "auditor.token", "ca.key"])
            Assert.Contains(expected, secrets);
        Assert.Contains(secrets, s => s.StartsWith("keys/", StringComparison.Ordinal));
        Assert.All(secrets, s => Assert.Equal(ownerOnly, File.GetUnixFileMode(Path.Combine(service.Folder, s))));
        Assert.Equal(ownerOnly | UnixFileMode.UserExecute, File.GetUnixFileMode(service.Folder));

        static bool HoldsSecret(string file) => Path.GetExtension(file) is ".token" or ".key" || Path.GetFileName(Path.GetDirectoryName(file)) == "keys";
    }

    [Fact]
    public async Task CVE_2023_38200_GHSA_pg75_v6fp_8q59_idle_connections_block_nobody()
    {
        await using var service = await TestService.StartAsync();
        var idle = new List<TcpClient>();
        for (var i = 0; i < 200; i++)
        {
            var client = new TcpClient();
            await client.ConnectAsync(IPAddress.Loopback, service.Url.Port, Cancel);
            if (i % 2 == 0)
                await client.GetStream().WriteAsync(new byte[] { 0x16, 0x03, 0x01 }, Cancel); // the start of a TLS hello, and no more
            idle.Add(client);
        }

        var start = TimeProvider.System.GetTimestamp();
        (await service.Anonymous.SendAsync("GET", "/health")).Expect(HttpStatusCode.OK);
        Assert.InRange(TimeProvider.System.GetElapsedTime(start), TimeSpan.Zero, TimeSpan.FromSeconds(5));
        idle.ForEach(client => client.Dispose());
    }

    [Fact]
    public async Task CVE_2025_1057_GHSA_9jxq_5x44_gx23_an_old_or_bad_row_is_no_denial_of_service()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var rows = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "rows", "schema-1.json"), Cancel))!;
        using (var database = SqliteDatabase.Open(Path.Combine(service.Folder, "keylime.db")))
        {
            await database.WriteAsync(c => c.Execute("INSERT INTO nodes (partition, id, etag, verdict, late_at, silent_at, retired, open, policy, body) VALUES ('00', 'rows-node', 'e', 0, 0, 0, 0, 0, NULL, $body)", ("$body", Encoding.UTF8.GetBytes(rows["node"]!.ToJsonString()))), Cancel);
            await database.WriteAsync(c => c.Execute("INSERT INTO nodes (partition, id, etag, verdict, late_at, silent_at, retired, open, policy, body) VALUES ($partition, 'bad', 'e', 0, 0, 0, 0, 0, NULL, x'00ff')", ("$partition", Storage.Partitions.Of("bad"))), Cancel);
            await database.WriteAsync(c => c.Execute("INSERT INTO registrations VALUES ('bad', 'e', x'00ff')"), Cancel);
        }

        var listed = (await service.Operator.SendAsync("GET", "/v1/nodes")).Expect(HttpStatusCode.OK)["nodes"]!.AsArray().Select(n => n!["id"]!.GetValue<string>());
        Assert.Equal(["node", "rows-node"], listed.Order());
        (await service.Operator.SendAsync("GET", "/v2.6/agents")).Expect(HttpStatusCode.OK);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Operator.SendAsync("GET", "/v1/nodes/bad")).Status);
    }

    [Fact]
    public async Task CVE_2023_30551_CVE_2023_33199_CVE_2026_24117_what_is_fetched_is_bounded_and_public()
    {
        await using var large = await HookServer.StartAsync(200, new string('a', 1024 * 1024), 0);
        using var allowed = new Hosting.Outbound(new Hosting.ServiceOptions { AllowedOutbound = [large.Authority] });
        using var request = new HttpRequestMessage(HttpMethod.Get, large.Url);
        var tooLong = await Assert.ThrowsAsync<Hosting.OutboundException>(() => allowed.SendAsync(request, plain: true, 64 * 1024, TimeSpan.FromSeconds(5), Cancel));
        Assert.Contains("longer than", tooLong.Message, StringComparison.Ordinal);

        // The server is there, under each of these names; the guard is what stops the request.
        using var guarded = new Hosting.Outbound(new Hosting.ServiceOptions());
        var port = large.Url.Split(':')[^1].Trim('/');
        foreach (var host in (string[])["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "127.1", "[::1]", "169.254.169.254", "168.63.129.16", "10.0.0.1", "[fd00::1]", "[fe80::1]"])
        {
            using var inside = new HttpRequestMessage(HttpMethod.Get, $"http://{host}:{port}/");
            var refused = await Assert.ThrowsAsync<Hosting.OutboundException>(() => guarded.SendAsync(inside, plain: true, 1024, TimeSpan.FromSeconds(5), Cancel));
            Assert.True(refused.Message.Contains("has an address that is not public", StringComparison.Ordinal), $"{host}: {refused.Message}");
        }

        foreach (var url in (string[])["ftp://example.org/", "file:///etc/passwd", "gopher://example.org/"])
        {
            using var odd = new HttpRequestMessage(HttpMethod.Get, url);
            var refused = await Assert.ThrowsAsync<Hosting.OutboundException>(() => guarded.SendAsync(odd, plain: true, 1024, TimeSpan.FromSeconds(5), Cancel));
            Assert.Contains("https is expected", refused.Message, StringComparison.Ordinal);
        }

        Assert.Single(large.Requests); // the one that was allowed
    }

    [Fact]
    public async Task Two_hundred_nodes_behind_one_address_all_get_through()
    {
        await using var service = await TestService.StartAsync();
        var nodes = Enumerable.Range(0, 200).Select(i => new TestAgent(service, $"node-{i}", new SoftwareTpm(TpmAlgorithm.Ecdsa))).ToArray();
        for (var round = 0; round < 3; round++) // a site that reboots again and again, within the minute
        {
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            await Parallel.ForEachAsync(nodes, new ParallelOptions { MaxDegreeOfParallelism = 8, CancellationToken = Cancel }, async (node, _) =>
            {
                await node.RegisterAsync();
                if ((await service.Operator.SendAsync("PUT", $"/v1/nodes/{node.Id}", "{}")) is { Status: not (HttpStatusCode.OK or HttpStatusCode.Created) } refused)
                    Assert.Fail(refused.Text);
                await node.AuthenticateAsync();
            });
        }

        foreach (var node in nodes)
            node.Dispose();
    }
}

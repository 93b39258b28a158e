using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Keylime.Demo;
using Keylime.FunctionsHost;
using Keylime.Protocol.Api;

namespace Keylime.EndToEnd.Tests;

/// <summary>The published service as a custom handler: a host's whole protocol around it, Azure's storage under it, an agent on a software TPM in front of it.</summary>
public sealed class HostTests : IAsyncLifetime
{
    private const int Interval = 2;
    private static readonly TimeSpan Enough = TimeSpan.FromSeconds(60);

    private HostBench _bench = null!; // StartAsync
    private Machine? _machine;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public async ValueTask DisposeAsync()
    {
        await _bench.DisposeAsync();
        if (_machine is not null)
            await _machine.DisposeAsync();
    }

    [Theory]
    [InlineData("Forwarding")]
    [InlineData("Proxying")]
    public async Task An_agent_attests_through_the_host_timers_run_and_kills_lose_nothing(string mode)
    {
        var host = await StartAsync(Enum.Parse<HostMode>(mode));
        Assert.InRange(host.Handler.StartedWithin, TimeSpan.Zero, TimeSpan.FromSeconds(10));
        var machine = await BootAsync(host);
        await _bench.Fleet.WaitAsync("it is trusted", Enough, () => _bench.Fleet.StateOf("node") == NodeState.Trusted, Cancel);
        foreach (var timer in (string[])["trg-sweep", "trg-retention", "trg-deliveries"])
            Assert.Equal(new Invocation(true, ""), await host.TickAsync(timer, Cancel));

        // The host ends a handler without a word, whenever it likes; what it was at is done again or was done.
        for (var kills = 0; kills < 5; kills++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(300 + 370 * kills), Cancel);
            await host.Handler.RestartAsync(Cancel);
        }

        var before = (await _bench.Fleet.ShowAsync("node", Cancel)).Node.Attestations;
        await _bench.Fleet.WaitAsync("it goes on", Enough, () => _bench.Fleet.Nodes.Single().Attestations >= before + 2, Cancel);
        before = (await _bench.Fleet.ShowAsync("node", Cancel)).Node.Attestations;
        var verdicts = await _bench.Fleet.DoAsync(Cancel, "node", "verdicts", "node", "--limit", "1000", "--json");
        Assert.DoesNotContain("\"fail\"", verdicts, StringComparison.Ordinal);
        var details = await _bench.Fleet.ShowAsync("node", Cancel);
        Assert.InRange(verdicts.Split("\"attestation\":").Length - 1, before, details.Node.Attestations); // the row's count and the history agree

        // Nobody comes any more: only the timer can notice.
        machine.KillAgent();
        await _bench.Fleet.WaitAsync("it is silent", Enough, () => _bench.Fleet.StateOf("node") == NodeState.Silent, Cancel);
        Assert.Equal(new Invocation(true, ""), await host.TickAsync("trg-sweep", Cancel));
        Assert.Contains("node.silent", await _bench.Fleet.DoAsync(Cancel, "node", "events", "node", "--json"), StringComparison.Ordinal);

        Assert.Null(host.Handler.GaveUp);
        Assert.Empty(host.Handler.Log.Where(static l => l.Error).Select(static l => l.Line)); // of standard error the host makes errors
        Assert.All(host.Handler.Log, static l => Assert.NotNull(System.Text.Json.Nodes.JsonNode.Parse(l.Line)));
        TestContext.Current.SendDiagnosticMessage($"functions host, {mode}: started within {host.Handler.StartedWithin.TotalMilliseconds:0} ms, {host.Handler.Restarts} kills, {details.Node.Attestations} attestations, peak of {host.Handler.PeakMemory / (1024 * 1024)} MB");
    }

    [Theory]
    [InlineData("Forwarding")]
    [InlineData("Proxying")]
    public async Task Nobody_outside_runs_a_trigger_however_it_is_spelt(string mode)
    {
        var host = await StartAsync(Enum.Parse<HostMode>(mode));
        foreach (var timer in host.App.Functions.Where(static f => f.Kind != "httpTrigger"))
        {
            foreach (var path in (string[])[$"/{timer.Name}", $"//{timer.Name}", $"/v1//{timer.Name}", $"/v1/../{timer.Name}", $"/v1/%2e%2e/{timer.Name}", $"/v1/%252e%252e/{timer.Name}", $"/v1/..%2f{timer.Name}", $"/v3.0/..;/{timer.Name}", $"/health/../{timer.Name}", $"/v1?/../{timer.Name}"])
            {
                foreach (var headers in (string[])["", "X-Azure-Functions-InvocationId: 7\r\nX-Azure-Functions-HostVersion: 4\r\nUser-Agent: Azure-Functions-Host/4\r\n", "Host: 127.0.0.1\r\n", $"Host: 127.0.0.1:{host.Handler.Port}\r\n", $"X-Original-Host: 127.0.0.1:{host.Handler.Port}\r\nX-Forwarded-Host:\r\n"])
                {
                    var status = await RawAsync(host.Url, path, headers);
                    Assert.True(status is >= 400 and < 500, $"{mode} {path} {headers}: {status}");
                }
            }
        }
    }

    [Theory]
    [InlineData("Forwarding")]
    [InlineData("Proxying")]
    public async Task What_a_route_of_function_json_does_not_name_does_not_reach_the_handler_and_what_it_names_does(string mode)
    {
        var host = await StartAsync(Enum.Parse<HostMode>(mode));
        foreach (var path in (string[])["/version", "/versions", "/health", "/openapi.json", "/v2.6", "/v3.0"])
            Assert.Equal(200, await RawAsync(host.Url, path, "", "GET"));
        Assert.Equal(401, await RawAsync(host.Url, "/v1/nodes", "", "GET"));
        Assert.Equal(404, await RawAsync(host.Url, "/admin/host/status", "", "GET"));
        Assert.Equal(404, await RawAsync(host.Url, "/v9/nodes", "", "GET"));
        await host.Handler.KillAsync();
        Assert.Equal(404, await RawAsync(host.Url, "/admin/host/status", "", "GET"));
        Assert.InRange(await RawAsync(host.Url, "/version", "", "GET"), 500, 599);
    }

    private async Task<FunctionsHostServer> StartAsync(HostMode mode) => (_bench = await HostBench.StartAsync(mode, Interval)).Host;

    private async Task<Machine> BootAsync(FunctionsHostServer host)
    {
        _machine = await Machine.BootAsync("node", Path.Combine(_bench.Folder, "node"), ["/bin/sh", "/bin/ls"], Cancel);
        var root = Path.Combine(_bench.Folder, "root.pem");
        await File.WriteAllTextAsync(root, _machine.CaCertificatePem, Cancel);
        await _bench.Fleet.DoAsync(Cancel, "trust", "add", root);
        _machine.StartAgent(_bench.Programs, host.Url.ToString(), _bench.Authority);
        await _bench.Fleet.EnrolAsync(_machine, Cancel);
        return _machine;
    }

    /// <summary>A request as it is written here: no client library tidies the path.</summary>
    private static async Task<int> RawAsync(Uri url, string path, string headers, string method = "POST")
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, url.Port, Cancel);
        await using var tls = new SslStream(socket.GetStream(), false, static (_, certificate, _, _) => certificate?.Subject == "CN=localhost");
        await tls.AuthenticateAsClientAsync("localhost");
        var host = headers.StartsWith("Host:", StringComparison.Ordinal) ? "" : $"Host: {url.Authority}\r\n";
        await tls.WriteAsync(Encoding.ASCII.GetBytes($"{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: 2\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{{}}"), Cancel);
        using var reader = new StreamReader(tls);
        return await reader.ReadLineAsync(Cancel) is { Length: > 12 } line ? int.Parse(line.AsSpan(9, 3), System.Globalization.CultureInfo.InvariantCulture) : 0;
    }
}

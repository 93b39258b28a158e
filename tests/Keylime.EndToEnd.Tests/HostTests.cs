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

    private readonly string _folder = Directory.CreateTempSubdirectory("host-").FullName;
    private Programs _programs = null!; // InitializeAsync
    private Fleet _fleet = null!;
    private TestedHost? _host;
    private Machine? _machine;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<string> Modes => TestedHost.Modes;

    public ValueTask InitializeAsync()
    {
        _programs = new Programs(_folder, Published.Agent);
        _fleet = new Fleet(_programs);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _programs.DisposeAsync();
        if (_host is not null)
            await _host.DisposeAsync();
        if (_machine is not null)
            await _machine.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task An_agent_attests_through_the_host_timers_run_and_kills_lose_nothing(string mode)
    {
        var host = await StartAsync(mode);
        var machine = await BootAsync(host);
        await _fleet.WaitAsync("it is trusted", Enough, () => _fleet.StateOf("node") == NodeState.Trusted, Cancel);
        foreach (var timer in (string[])["trg-sweep", "trg-retention", "trg-deliveries"])
            await host.TickAsync(timer, Cancel);

        // The host ends a handler without a word, whenever it likes; what it was at is done again or was done.
        for (var kills = 0; kills < host.Kills; kills++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(300 + 370 * kills), Cancel);
            await host.KillAsync(Cancel);
        }

        var before = (await _fleet.ShowAsync("node", Cancel)).Node.Attestations;
        await _fleet.WaitAsync("it goes on", Enough, () => _fleet.Nodes.Single().Attestations >= before + 2, Cancel);
        before = (await _fleet.ShowAsync("node", Cancel)).Node.Attestations;
        var verdicts = await _fleet.DoAsync(Cancel, "node", "verdicts", "node", "--limit", "1000", "--json");
        Assert.DoesNotContain("\"fail\"", verdicts, StringComparison.Ordinal);
        var details = await _fleet.ShowAsync("node", Cancel);
        Assert.InRange(verdicts.Split("\"attestation\":").Length - 1, before, details.Node.Attestations); // the row's count and the history agree

        // Nobody comes any more: only the timer can notice.
        machine.KillAgent();
        await _fleet.WaitAsync("it is silent", Enough, () => _fleet.StateOf("node") == NodeState.Silent, Cancel);
        await host.TickAsync("trg-sweep", Cancel);
        for (var tries = 0; !(await _fleet.DoAsync(Cancel, "node", "events", "node", "--json")).Contains("node.silent", StringComparison.Ordinal); tries++)
        {
            Assert.InRange(tries, 0, host is TestedHost.Running ? 100 : 0); // ours has called it when it says so; the real one calls it then
            await Task.Delay(100, Cancel);
        }

        if (host is TestedHost.Conforming { Handler: var handler }) // of the real one's handler nobody is told so much
        {
            Assert.InRange(handler.StartedWithin, TimeSpan.Zero, TimeSpan.FromSeconds(10));
            Assert.Null(handler.GaveUp);
            Assert.Empty(handler.Log.Where(static l => l.Error).Select(static l => l.Line)); // of standard error the host makes errors
            Assert.All(handler.Log, static l => Assert.NotNull(System.Text.Json.Nodes.JsonNode.Parse(l.Line)));
            TestContext.Current.SendDiagnosticMessage($"functions host, {mode}: started within {handler.StartedWithin.TotalMilliseconds:0} ms, {handler.Restarts} kills, {details.Node.Attestations} attestations, peak of {handler.PeakMemory / (1024 * 1024)} MB");
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task Nobody_outside_runs_a_trigger_however_it_is_spelt(string mode)
    {
        var host = await StartAsync(mode);
        foreach (var timer in host.Timers)
        {
            foreach (var path in (string[])[$"/{timer}", $"//{timer}", $"/v1//{timer}", $"/v1/../{timer}", $"/v1/%2e%2e/{timer}", $"/v1/%252e%252e/{timer}", $"/v1/..%2f{timer}", $"/v3.0/..;/{timer}", $"/health/../{timer}", $"/v1?/../{timer}"])
            {
                foreach (var headers in (string[])["", "X-Azure-Functions-InvocationId: 7\r\nX-Azure-Functions-HostVersion: 4\r\nUser-Agent: Azure-Functions-Host/4\r\n", "Host: 127.0.0.1\r\n", $"Host: 127.0.0.1:{host.HandlerPort}\r\n", $"X-Original-Host: 127.0.0.1:{host.HandlerPort}\r\nX-Forwarded-Host:\r\n"])
                {
                    var status = await RawAsync(host.Url, path, headers);
                    Assert.True(status is >= 400 and < 500, $"{mode} {path} {headers}: {status}");
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Modes))]
    public async Task What_a_route_of_function_json_does_not_name_does_not_reach_the_handler_and_what_it_names_does(string mode)
    {
        var host = await StartAsync(mode);
        foreach (var path in (string[])["/version", "/versions", "/health", "/openapi.json", "/v2.6", "/v3.0"])
            Assert.Equal(200, await RawAsync(host.Url, path, "", "GET"));
        Assert.Equal(401, await RawAsync(host.Url, "/v1/nodes", "", "GET"));
        Assert.Equal(404, await RawAsync(host.Url, "/v9/nodes", "", "GET"));
        if (host is not TestedHost.Conforming { Handler: var handler })
            return; // Core Tools have an administration of their own, and start a handler again before anybody is told that it is gone
        Assert.Equal(404, await RawAsync(host.Url, "/admin/host/status", "", "GET"));
        await handler.KillAsync();
        Assert.Equal(404, await RawAsync(host.Url, "/admin/host/status", "", "GET"));
        Assert.InRange(await RawAsync(host.Url, "/version", "", "GET"), 500, 599);
    }

    private async Task<TestedHost> StartAsync(string mode)
    {
        if (mode == "Running")
            return _host = new TestedHost.Running();

        return _host = new TestedHost.Conforming(await HostBench.StartAsync(Enum.Parse<HostMode>(mode), Interval));
    }

    private async Task<Machine> BootAsync(TestedHost host)
    {
        var authority = Path.Combine(_folder, "host.pem");
        await File.WriteAllTextAsync(authority, host.CertificatePem, Cancel);
        await _fleet.DoAsync(Cancel, "login", "--url", host.Url.ToString(), "--ca", authority, "--token-file", Path.Combine(host.Data, "operator.token"));
        _machine = await Machine.BootAsync("node", Path.Combine(_folder, "node"), ["/bin/sh", "/bin/ls"], Cancel);
        var root = Path.Combine(_folder, "root.pem");
        await File.WriteAllTextAsync(root, _machine.CaCertificatePem, Cancel);
        await _fleet.DoAsync(Cancel, "trust", "add", root);
        _machine.StartAgent(_programs, host.Url.ToString(), authority);
        await _fleet.EnrolAsync(_machine, Cancel);
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

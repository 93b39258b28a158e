using System.Diagnostics;
using System.Globalization;
using Keylime.Demo;
using Keylime.Protocol.Api;
using Keylime.Testing;

namespace Keylime.EndToEnd.Tests;

/// <summary>Real processes on real software TPMs: the agent as it is published, the service, the operator's tool.</summary>
public sealed class ProgramTests : IAsyncLifetime
{
    private const int SigTerm = 15;
    private const int Interval = 2;

    private readonly string _folder = Directory.CreateTempSubdirectory("end-").FullName;
    private readonly List<Machine> _machines = [];
    private Programs _programs = null!; // InitializeAsync
    private Fleet _fleet = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Data => Path.Combine(_folder, "service");

    public ValueTask InitializeAsync()
    {
        _programs = new Programs(_folder, Published.Agent);
        _fleet = new Fleet(_programs);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        await _programs.DisposeAsync();
        foreach (var log in Directory.EnumerateFiles(_folder, "*.log"))
            TestContext.Current.TestOutputHelper?.WriteLine($"{Path.GetFileName(log)}: {string.Join('\n', File.ReadLines(log).TakeLast(12))}"); // shown where the test fails
        foreach (var machine in _machines)
            await machine.DisposeAsync();
        LogScan.NothingSecretIn(Directory.EnumerateFiles(_folder, "*.log").ToDictionary(static path => path, File.ReadAllText), Data); // whatever the test was about
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task The_demonstration_tells_its_story()
    {
        var demo = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "Keylime.Demo", "debug", "Keylime.Demo"));
        using var process = Process.Start(new ProcessStartInfo(demo, ["--once"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        await process.WaitForExitAsync(Cancel);
        Assert.True(process.ExitCode == 0, await error + await output);
        Assert.Contains("Seen as it should be", await output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_agent_attests_with_either_kind_of_key_stops_within_two_seconds_and_listens_nowhere()
    {
        var service = await StartServiceAsync();
        var rsa = await BootAsync(service, "rsa");
        var ecc = await BootAsync(service, "ecc", "tpm_encryption_alg = \"ecc\"");
        await _fleet.WaitAsync("both are trusted", TimeSpan.FromSeconds(60), () => Is("rsa", NodeState.Trusted) && Is("ecc", NodeState.Trusted), Cancel);
        Assert.Equal("rsa-2048", (await _fleet.ShowAsync("rsa", Cancel)).AttestationKeyType);
        var details = await _fleet.ShowAsync("ecc", Cancel);
        Assert.Equal(("ecc-nist-p256", "ek-certificate"), (details.AttestationKeyType, details.Node.Coverage.Identity));

        foreach (var machine in (Machine[])[rsa, ecc])
        {
            Assert.Empty(ListeningSockets(machine.Agent!.Id));
            Assert.Equal((UnixFileMode)0b110_000_000, File.GetUnixFileMode(Path.Combine(machine.Folder, "keylime", "agent_data.json")));
            var start = TimeProvider.System.GetTimestamp();
            Assert.Equal(0, Kill(machine.Agent.Id, SigTerm));
            await machine.Agent.WaitForExitAsync(Cancel);
            Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(2), $"{TimeProvider.System.GetElapsedTime(start)}");
            Assert.Equal(0, machine.Agent.ExitCode);
        }
    }

    [Fact]
    public async Task On_Azure_tables_an_agent_with_a_device_identity_and_a_P_384_key_attests_and_its_doctor_is_content()
    {
        await using var azurite = await Azurite.StartAsync(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "tests", "azurite"), Cancel);
        var connections = Path.Combine(_folder, "connections");
        await File.WriteAllLinesAsync(connections, azurite.NewAccounts(2), Cancel);
        var service = await ServiceProcess.StartAsync(_programs, Data, Interval, Cancel, "https://127.0.0.1:0",
            "--azure-connections", connections, "--accept-identity", "iak-certificate");
        await service.LoginAsync(_fleet, Cancel);

        var machine = await Machine.BootAsync("device", Path.Combine(_folder, "device"), ["/bin/sh", "/bin/ls"], Cancel);
        _machines.Add(machine);
        var root = Path.Combine(_folder, "maker.pem");
        await File.WriteAllTextAsync(root, await machine.CertifyDeviceAsync("H-3", Cancel), Cancel);
        await _fleet.DoAsync(Cancel, "trust", "add", root);
        machine.StartAgent(_programs, service.Url, service.CaPath, "tpm_encryption_alg = \"ecc384\"", "tpm_hash_alg = \"sha384\"", "enable_iak_idevid = true", "iak_idevid_template = \"H-3\"");
        await _fleet.EnrolAsync(machine, Cancel);
        await _fleet.WaitAsync("it is trusted", TimeSpan.FromSeconds(60), () => Is("device", NodeState.Trusted), Cancel);
        var details = await _fleet.ShowAsync("device", Cancel);
        Assert.Equal(("ecc-nist-p384", "iak-certificate"), (details.AttestationKeyType, details.Node.Coverage.Identity));

        // The doctor, beside the running agent: the TPM is shared a command at a time, so the agent rests meanwhile.
        machine.KillAgent();
        await machine.Agent!.WaitForExitAsync(Cancel);
        var (exit, text) = await machine.RunAgentAsync(_programs, "doctor", Cancel);
        foreach (var line in (string[])["ok      TPM: TPM 2.0 of IBM", "ok      PCR banks:", "ok      EK certificate:", "ok      IMA list:", "ok      TLS:", "ok      clock:", "ok      registrar:", "ok      verifier:"])
            Assert.Contains(line, text, StringComparison.Ordinal);
        Assert.Equal(1, exit); // for it has no boot log here, and says so
        Assert.Single(text.Split('\n'), l => l.StartsWith("not ok", StringComparison.Ordinal) && l.Contains("boot log", StringComparison.Ordinal));
        (exit, text) = await machine.RunAgentAsync(_programs, "identity", Cancel);
        Assert.Equal(0, exit);
        Assert.Contains(details.EndorsementKeyHash, text, StringComparison.Ordinal);
        Assert.Contains(details.AttestationKeyName, text, StringComparison.Ordinal);

        var doctor = await _programs.KeylimeAsync(Cancel, "doctor");
        Assert.Contains("store azure-tables", doctor.Output, StringComparison.Ordinal);
        Assert.Contains("ok      trust: 1 roots", doctor.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_Debian_package_holds_what_the_agent_needs()
    {
        var script = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "agent", "package"));
        var package = (await RunAsync(script, "--agent", Published.Agent)).Trim();
        package = Path.Combine(Path.GetDirectoryName(script)!, "..", package);
        var contents = await RunAsync("dpkg-deb", "--contents", package);
        foreach (var file in (string[])["./usr/bin/keylime-agent", "./etc/keylime/agent.conf", "./lib/systemd/system/keylime-agent.service", "./usr/share/man/man8/keylime-agent.8.gz", "./usr/share/doc/keylime-agent-serverless/copyright"])
            Assert.Matches($"root/root .*{System.Text.RegularExpressions.Regex.Escape(file)}\n", contents);
        var control = await RunAsync("dpkg-deb", "--info", package);
        Assert.Contains("Package: keylime-agent-serverless", control, StringComparison.Ordinal);
        Assert.Matches(@"Depends: libc6 \(>= 2\.\d+\), .*tpm-udev", control); // without the latter /dev/tpmrm0 is root's alone

        // What it installs is what it starts, and runs.
        var root = Path.Combine(_folder, "root");
        await RunAsync("dpkg-deb", "--extract", package, root);
        Assert.Equal("0.1.0", (await RunAsync(Path.Combine(root, "usr/bin/keylime-agent"), "--version")).Trim());
        var unit = await File.ReadAllLinesAsync(Path.Combine(root, "lib/systemd/system/keylime-agent.service"), Cancel);
        foreach (var line in (string[])["ExecStart=/usr/bin/keylime-agent run", "Type=notify", "WatchdogSec=120", "NoNewPrivileges=yes", "ProtectSystem=strict", "MemoryDenyWriteExecute=yes", "SystemCallFilter=@system-service"])
            Assert.Contains(line, unit);
    }

    [Fact]
    public async Task Agents_and_service_may_be_killed_at_any_time()
    {
        var service = await StartServiceAsync();
        var machine = await BootAsync(service, "node");
        await _fleet.WaitAsync("it is trusted", TimeSpan.FromSeconds(60), () => Is("node", NodeState.Trusted), Cancel);
        var before = await _fleet.ShowAsync("node", Cancel);

        // The agent: what it left in the TPM is flushed, its key is the same.
        machine.KillAgent();
        await machine.Agent!.WaitForExitAsync(Cancel);
        machine.StartAgent(_programs, service.Url, service.CaPath);
        await MoreAsync(before);

        // The service: everything that mattered is on the disk.
        service.Process.Kill();
        await service.Process.WaitForExitAsync(Cancel);
        service = await ServiceProcess.StartAsync(_programs, Data, Interval, Cancel, service.Url);
        await MoreAsync(await _fleet.ShowAsync("node", Cancel));
        var after = await _fleet.ShowAsync("node", Cancel);
        Assert.Equal(before.AttestationKeyName, after.AttestationKeyName);
        Assert.Equal("pass", after.LastVerdict!.Evaluation);
        var verdicts = await _fleet.DoAsync(Cancel, "node", "verdicts", "node", "--limit", "1000", "--json");
        Assert.DoesNotContain("\"fail\"", verdicts, StringComparison.Ordinal);

        Task MoreAsync(NodeDetails than) => _fleet.WaitAsync("it goes on", TimeSpan.FromSeconds(60),
            () => _fleet.Nodes.Single(n => n.Id.ToString() == "node").Attestations >= than.Node.Attestations + 2, Cancel);
    }

    [Fact]
    public async Task What_is_logged_is_one_line_of_JSON_each_and_no_secret()
    {
        var service = await StartServiceAsync();
        await BootAsync(service, "node");
        await _fleet.WaitAsync("it is trusted", TimeSpan.FromSeconds(60), () => Is("node", NodeState.Trusted), Cancel);
        var secret = (await File.ReadAllTextAsync(Path.Combine(Data, "operator.token"), Cancel)).Trim();
        var lines = await File.ReadAllLinesAsync(Path.Combine(_folder, "service.log"), Cancel);
        Assert.NotEmpty(lines);
        Assert.All(lines, line => Assert.NotNull(System.Text.Json.Nodes.JsonNode.Parse(line)!["Message"]));
        Assert.DoesNotContain(secret, string.Join('\n', lines), StringComparison.Ordinal);
        Assert.DoesNotContain("Bearer", await File.ReadAllTextAsync(Path.Combine(_folder, "node.log"), Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public void The_agent_is_one_file_under_8_MB()
    {
        Assert.InRange(new FileInfo(Published.Agent).Length, 1_000_000, 8_000_000);
        Assert.Equal([Published.Agent], Directory.EnumerateFiles(Path.GetDirectoryName(Published.Agent)!));
    }

    [Theory]
    [InlineData(0, "--help")]
    [InlineData(2, "node", "show")]
    [InlineData(4, "node", "list", "--json")]
    public async Task The_published_tool_runs(int exit, params string[] args)
    {
        var start = new ProcessStartInfo(Published.Tenant, args) { RedirectStandardOutput = true, RedirectStandardError = true, Environment = { ["XDG_CONFIG_HOME"] = _folder } };
        using var process = Process.Start(start)!;
        await process.WaitForExitAsync(Cancel);
        Assert.Equal(exit, process.ExitCode);
    }

    private static async Task<string> RunAsync(string program, params IReadOnlyList<string> args)
    {
        using var process = Process.Start(new ProcessStartInfo(program, args) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        await process.WaitForExitAsync(Cancel);
        Assert.True(process.ExitCode == 0, await errors);
        return await output;
    }

    private async Task<ServiceProcess> StartServiceAsync()
    {
        var service = await ServiceProcess.StartAsync(_programs, Data, Interval, Cancel);
        await service.LoginAsync(_fleet, Cancel);
        return service;
    }

    private async Task<Machine> BootAsync(ServiceProcess service, string name, params string[] configuration)
    {
        var machine = await Machine.BootAsync(name, Path.Combine(_folder, name), ["/bin/sh", "/bin/ls"], Cancel);
        _machines.Add(machine);
        await service.TrustAsync(machine, Cancel);
        machine.StartAgent(_programs, service.Url, service.CaPath, configuration);
        await _fleet.EnrolAsync(machine, Cancel);
        return machine;
    }

    private bool Is(string name, NodeState state) => _fleet.StateOf(name) == state;

    // Sockets that this process has open, and that the kernel lists as listening.
    private static string[] ListeningSockets(int pid)
    {
        const string listening = "0A";
        var mine = Directory.EnumerateFiles($"/proc/{pid}/fd").Select(f => new FileInfo(f).LinkTarget ?? "").Where(t => t.StartsWith("socket:[", StringComparison.Ordinal))
            .Select(t => t[8..^1]).ToHashSet();
        return [.. ((string[])["tcp", "tcp6"]).SelectMany(kind => File.ReadLines($"/proc/{pid}/net/{kind}").Skip(1))
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(fields => fields[3] == listening && mine.Contains(fields[9])).Select(fields => fields[1])];
    }

    private static int Kill(int pid, int signal)
    {
        using var kill = Process.Start("kill", [string.Create(CultureInfo.InvariantCulture, $"-{signal}"), string.Create(CultureInfo.InvariantCulture, $"{pid}")]);
        kill.WaitForExit();
        return kill.ExitCode;
    }
}

using System.Text.Json;
using Keylime.Demo;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Testing;

namespace Keylime.Vm.Tests;

/// <summary>A service, an operator, and one machine with its TPM and its disk.</summary>
internal sealed class Bench : IAsyncDisposable
{
    public const string Node = "machine";

    private const string PayloadName = "db.key";
    private const int Interval = 3;

    // An attestation of a machine that is emulated takes a second or two; a reboot between two of them half a minute.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>Where the kernel has what firmware and boot loaders measured.</summary>
    public const string BootLogPath = "/sys/kernel/security/tpm0/binary_bios_measurements";

    private const string ListPath = "/sys/kernel/security/ima/ascii_runtime_measurements";
    private const string FromTheMachine = "10.0.2.2"; // what QEMU's user network makes of this host's loopback

    private readonly Programs _programs;
    private readonly Fleet _fleet;
    private readonly Swtpm _tpm;
    private readonly Dictionary<string, string> _given;
    private VirtualMachine? _machine;

    private Bench(string folder, Programs programs, Fleet fleet, Swtpm tpm, MachineDisk disk, Dictionary<string, string> given) =>
        (Folder, _programs, _fleet, _tpm, Disk, _given) = (folder, programs, fleet, tpm, disk, given);

    public string Folder { get; }

    public MachineDisk Disk { get; }

    public VirtualMachine Machine => _machine ?? throw new InvalidOperationException("The machine is off.");

    public string CapturedListPath => Path.Combine(Folder, "list");

    public string CapturedBootLogPath => Path.Combine(Folder, "bootlog");

    public string RuntimePolicyPath => Path.Combine(Folder, "policy.json");

    /// <summary>Starts the service, and makes a machine that is off.</summary>
    public static async Task<Bench> StartAsync(CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("vm-").FullName;
        var programs = new Programs(folder);
        var fleet = new Fleet(programs);
        var service = await ServiceProcess.StartAsync(programs, Path.Combine(folder, "service"), Interval, cancel, more: ["--san", FromTheMachine]);
        await service.LoginAsync(fleet, cancel);

        var tpm = await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha256", EkCertificate = true }, cancel);
        var root = Path.Combine(folder, "maker.pem");
        await File.WriteAllTextAsync(root, tpm.CaCertificatePem, cancel);
        await fleet.DoAsync(cancel, "trust", "add", root);

        var (url, id) = (Path.Combine(folder, "url"), Path.Combine(folder, "id"));
        await File.WriteAllTextAsync(url, $"https://{FromTheMachine}:{new Uri(service.Url).Port}", cancel);
        await File.WriteAllTextAsync(id, Node, cancel);
        var given = new Dictionary<string, string> { ["url"] = url, ["id"] = id, ["ca.pem"] = service.CaPath };
        return new Bench(folder, programs, fleet, tpm, await MachineDisk.MakeAsync(folder), given);
    }

    /// <summary>Switches the machine on, and waits until it has booted.</summary>
    public async Task BootAsync(CancellationToken cancel)
    {
        await SwitchOnAsync(cancel);
        await Machine.WaitUpAsync(cancel);
    }

    /// <summary>Switches the machine on, and waits for nothing.</summary>
    public async Task SwitchOnAsync(CancellationToken cancel) => _machine = await VirtualMachine.StartAsync(_tpm, Disk, Folder, _given, cancel);

    /// <summary>Pulls its plug, if it is on.</summary>
    public async Task PullPlugAsync()
    {
        if (_machine is not null)
            await _machine.DisposeAsync();
        _machine = null;
    }

    public async Task PowerOffAsync(CancellationToken cancel)
    {
        await Machine.PowerOffAsync(cancel);
        await PullPlugAsync();
    }

    /// <summary>Does something with another file in the boot partition; afterwards the machine is off, and the file is as it was.</summary>
    public async Task WithChangedFileAsync(string file, Func<byte[], byte[]> change, Func<Task> work)
    {
        var was = await Disk.ReadBootFileAsync(file);
        try
        {
            await Disk.WriteBootFileAsync(file, change(was));
            await work();
        }
        finally
        {
            await PullPlugAsync();
            await Disk.WriteBootFileAsync(file, was);
        }
    }

    /// <summary>Waits for the agent to register, takes what the machine has booted and measured so far for good, and waits for the first pass.</summary>
    public async Task EnrolAsync(CancellationToken cancel)
    {
        await WaitAsync("it is registered", n => n.State == NodeState.Pending, cancel);
        await File.WriteAllBytesAsync(CapturedListPath, await Machine.ReadFileAsync(ListPath, cancel), cancel);
        await File.WriteAllBytesAsync(CapturedBootLogPath, await Machine.ReadFileAsync(BootLogPath, cancel), cancel);
        await _fleet.EnrolAsync(Node, CapturedListPath, cancel, CapturedBootLogPath);
        await WaitAsync("it is trusted", n => n.State == NodeState.Trusted, cancel);
    }

    /// <summary>Another policy under the name that the node has.</summary>
    public Task PutRuntimePolicyAsync(string path, CancellationToken cancel) => _fleet.DoAsync(cancel, "policy", "put", Node, path);

    /// <summary>Puts a secret for the machine that only a boot opens which is good in all that is judged.</summary>
    public async Task PutPayloadAsync(string content, CancellationToken cancel)
    {
        var file = Path.Combine(Folder, "payload");
        await File.WriteAllTextAsync(file, content, cancel);
        await _fleet.DoAsync(cancel, "payload", "put", PayloadName, "--file", file, "--node", Node, "--require", "identity,boot,runtime", "--pcrs", "0,2,4,7,8,9", "--max-age", "10m");
    }

    /// <summary>What the machine has of it; empty where it has nothing.</summary>
    public Task<string> ReadPayloadAsync(CancellationToken cancel) => Machine.RunAsync($"cat /run/keylime/payloads/{PayloadName} 2>/dev/null || true", cancel);

    /// <summary>Looks until the machine has that of it.</summary>
    public async Task WaitForPayloadAsync(string content, CancellationToken cancel)
    {
        var start = TimeProvider.System.GetTimestamp();
        while ((await ReadPayloadAsync(cancel)).Trim() != content)
        {
            if (TimeProvider.System.GetElapsedTime(start) > Patience)
                throw new VmException($"The payload is not '{content}' within {Patience.TotalSeconds:0} s. The agent says: {await Machine.RunAsync("tail -n 10 /run/keylime/agent.log", cancel)}");
            await Task.Delay(500, cancel);
        }
    }

    /// <summary>What the service would decide now on a request for it, and how often it was released.</summary>
    public async Task<(string Decision, int Releases)> AskPayloadAsync(CancellationToken cancel)
    {
        var grants = JsonSerializer.Deserialize(await _fleet.DoAsync(cancel, "payload", "grants", PayloadName, "--json"), ApiJson.Default.PayloadGrantList)!.Grants;
        var releases = JsonSerializer.Deserialize(await _fleet.DoAsync(cancel, "payload", "releases", PayloadName, "--json"), ApiJson.Default.ReleaseList)!.Releases;
        return (grants.Single().Code, releases.Count(static r => r.Granted));
    }

    public Task<NodeDetails> ShowAsync(CancellationToken cancel) => _fleet.ShowAsync(Node, cancel);

    /// <summary>Looks at the node until it is so, and gives what was seen.</summary>
    public async Task<NodeDetails> WaitAsync(string what, Func<NodeSummary, bool> condition, CancellationToken cancel)
    {
        try
        {
            await _fleet.WaitAsync(what, Patience, () => _fleet.Nodes.FirstOrDefault(n => n.Id.ToString() == Node) is { } node && condition(node), cancel);
            return await ShowAsync(cancel);
        }
        catch (DemoException e) when (_machine is not null)
        {
            throw new VmException($"{e.Message} The agent says: {await Machine.RunAsync("tail -n 10 /run/keylime/agent.log", cancel)}");
        }
    }

    /// <summary>Waits until the machine's list has been judged to its end as it is now.</summary>
    public async Task<VerdictMessage> WaitForVerdictOnAllAsync(CancellationToken cancel)
    {
        var lines = long.Parse(await Machine.RunAsync("cat /sys/kernel/security/ima/runtime_measurements_count", cancel), System.Globalization.CultureInfo.InvariantCulture);
        return await WaitForVerdictAsync($"on line {lines}", v => v.ImaTo >= lines, cancel);
    }

    /// <summary>Waits until the last verdict is such a one.</summary>
    public async Task<VerdictMessage> WaitForVerdictAsync(string what, Func<VerdictMessage, bool> condition, CancellationToken cancel)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (TimeProvider.System.GetElapsedTime(start) < Patience)
        {
            if ((await ShowAsync(cancel)).LastVerdict is { } verdict && condition(verdict))
                return verdict;
            await Task.Delay(500, cancel);
        }

        throw new VmException($"No verdict {what} within {Patience.TotalSeconds:0} s. The agent says: {await Machine.RunAsync("tail -n 10 /run/keylime/agent.log", cancel)}");
    }

    public async ValueTask DisposeAsync()
    {
        await PullPlugAsync();
        await _tpm.DisposeAsync();
        await _programs.DisposeAsync();
        foreach (var log in Directory.EnumerateFiles(Folder, "*.log"))
            TestContext.Current.TestOutputHelper?.WriteLine($"{Path.GetFileName(log)}: {string.Join('\n', File.ReadLines(log).TakeLast(25))}"); // shown where the test fails
        Directory.Delete(Folder, recursive: true);
    }
}

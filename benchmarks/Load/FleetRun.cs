using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Load;

/// <summary>A fleet of machines that attest at a service, and what that costs.</summary>
internal static class FleetRun
{
    private const int RsaKeys = 64; // making one takes a tenth of a second
    private const int FirstLines = 100;

    public static async Task<int> CommandAsync(string[] args)
    {
        if (args is ["--help" or "-h"])
        {
            Console.WriteLine(FleetOptions.Usage);
            return 0;
        }

        var options = FleetOptions.Read(args);
        var figures = await RunAsync(options, CancellationToken.None);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{options.Nodes:N0} nodes every {options.Interval} s, {options.Enrolled ?? options.Nodes:N0} enrolled, {options.NewLines:N0} new lines, {options.Scheme}, {figures.Keys:N0} keys, a policy of {options.PolicyFiles:N0} digests, {(options.Handshakes ? "a connection for each request" : $"{options.Connections} connections")}, {(options.Url is not null ? options.Url.ToString() : options.Azurite ? "Azurite" : "SQLite")}{(options.Core is { } core ? $", the service on core {core}" : "")}"));
        figures.Print(Console.Out);
        return 0;
    }

    /// <exception cref="BenchmarkException">Something does not work, or attestations fail.</exception>
    public static Task<FleetFigures> RunAsync(FleetOptions options, CancellationToken cancel) => WithRigAsync(options, async rig =>
    {
        await rig.WarmAsync(cancel);
        return await rig.MeasureAsync(options, cancel);
    }, cancel);

    /// <summary>A rig for as long as that takes.</summary>
    /// <exception cref="BenchmarkException">Something does not work, or attestations fail.</exception>
    public static async Task<T> WithRigAsync<T>(FleetOptions options, Func<LoadRig, Task<T>> measure, CancellationToken cancel)
    {
        var folder = Directory.CreateTempSubdirectory("fleet-").FullName;
        try
        {
            await using var rig = await LoadRig.StartAsync(options, folder, cancel);
            return await measure(rig);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The machines, on as many keys as are asked for.</summary>
    public static (List<LoadNode> Nodes, List<SoftwareTpm> Keys) Make(FleetOptions options, MeasuredList list)
    {
        var wanted = options.Keys ?? (options.Seed && options.Scheme != TpmAlgorithm.Ecdsa ? RsaKeys : options.Nodes);
        if (options.Scheme != TpmAlgorithm.Ecdsa && wanted > RsaKeys)
            Console.Error.WriteLine($"making {2 * Math.Min(wanted, options.Nodes):N0} RSA keys");
        var keys = new SoftwareTpm[Math.Min(wanted, options.Nodes)];
        Parallel.For(0, keys.Length, i => keys[i] = new SoftwareTpm(options.Scheme));
        var nodes = new List<LoadNode>(options.Nodes);
        for (var i = 0; i < options.Nodes; i++)
        {
            var node = new LoadNode(SeededFleet.Name(i), i < keys.Length ? keys[i] : keys[i % keys.Length].Twin(), list, options.Format);
            node.Boot(FirstLines);
            nodes.Add(node);
        }

        return (nodes, [.. keys]);
    }

    /// <summary>A service of our own with that policy and those nodes in its store.</summary>
    public static Task SeedAsync(LoadRig rig, CancellationToken cancel)
    {
        var options = rig.Options;
        var (keys, policy) = (rig.Keys.ConvertAll(static k => k.AttestationKey), Convert.ToHexStringLower(SHA256.HashData(rig.List.Policy)));
        var nodes = SeededFleet.Of(options.Enrolled ?? options.Nodes, keys, rig.List, FirstLines, options.Interval, policy);
        return rig.Connections is { } connections ? SeededFleet.ToAzureAsync(connections, nodes, [], cancel) : SeededFleet.ToSqliteAsync(rig.Service!.DatabasePath, nodes, [], cancel);
    }

    /// <summary>Binds this process to the cores that the service is not on, where there are any.</summary>
    public static void Leave(int core)
    {
        var all = (1L << Environment.ProcessorCount) - 1;
        if (OperatingSystem.IsLinux() && (all & ~(1L << core)) is not 0 and var others)
            Process.GetCurrentProcess().ProcessorAffinity = (nint)others;
    }
}

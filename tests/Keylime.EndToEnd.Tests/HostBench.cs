using Azure.Storage.Queues;
using Keylime.Demo;
using Keylime.FunctionsHost;
using Keylime.Testing;

namespace Keylime.EndToEnd.Tests;

/// <summary>The published service in the conformance host, on an emulator of Azure's storage, and an operator's tool that is logged in to it.</summary>
internal sealed class HostBench : IAsyncDisposable
{
    private readonly Azurite _azurite;
    private readonly string _firstAccount;

    private HostBench(string folder, Programs programs, Azurite azurite, string firstAccount, FunctionsHostServer host) =>
        (Folder, Programs, Fleet, _azurite, _firstAccount, Host) = (folder, programs, new Fleet(programs), azurite, firstAccount, host);

    public string Folder { get; }

    /// <summary>The data directory of the handler.</summary>
    public string Data => Path.Combine(Folder, "service");

    public Programs Programs { get; }

    public Fleet Fleet { get; }

    public FunctionsHostServer Host { get; }

    /// <summary>The host's certificate, which agents and operators trust.</summary>
    public string Authority => Path.Combine(Folder, "host.pem");

    /// <summary>A queue, as somebody with the account's key reaches it.</summary>
    public QueueClient Queue(string name) => new(_firstAccount, name);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <param name="outbound">Where webhooks may go to.</param>
    public static async Task<HostBench> StartAsync(HostMode mode, int interval, string outbound = "127.0.0.1:1")
    {
        var folder = Directory.CreateTempSubdirectory("host-").FullName;
        var azurite = await Azurite.StartAsync(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "tests", "azurite"), Cancel);
        var (accounts, connections, data) = (azurite.NewAccounts(2), Path.Combine(folder, "connections"), Path.Combine(folder, "service"));
        await File.WriteAllLinesAsync(connections, accounts, Cancel);
        var host = await FunctionsHostServer.StartAsync(
            Published.Package, mode,
            new Dictionary<string, string>
            {
                ["KEYLIME_SERVICE_DATA"] = data,
                ["KEYLIME_SERVICE_INTERVAL"] = $"{interval}",
                ["KEYLIME_SERVICE_AZURE_CONNECTIONS"] = connections,
                ["KEYLIME_SERVICE_ALLOW_OUTBOUND"] = outbound,
                ["KeylimeQueue"] = accounts[0],
            },
            Cancel);
        var bench = new HostBench(folder, new Programs(folder, Published.Agent), azurite, accounts[0], host);
        await File.WriteAllTextAsync(bench.Authority, host.CertificatePem, Cancel);
        await bench.Fleet.DoAsync(Cancel, "login", "--url", host.Url.ToString(), "--ca", bench.Authority, "--token-file", Path.Combine(data, "operator.token"));
        return bench;
    }

    public async ValueTask DisposeAsync()
    {
        await Programs.DisposeAsync();
        foreach (var (_, line) in Host.Handler.Log.TakeLast(12))
            TestContext.Current.TestOutputHelper?.WriteLine(line); // shown where the test fails
        await Host.DisposeAsync();
        await _azurite.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }
}

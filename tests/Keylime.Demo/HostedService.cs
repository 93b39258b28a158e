using Keylime.FunctionsHost;
using Keylime.Testing;

namespace Keylime.Demo;

/// <summary>The published service as a custom handler in the conformance host, on an emulator of Azure's storage; its timers are called every few seconds, so that nobody has to wait for a minute.</summary>
internal sealed class HostedService : IAsyncDisposable
{
    private static readonly TimeSpan BetweenTimers = TimeSpan.FromSeconds(2);

    private readonly CancellationTokenSource _stop = new();
    private readonly Azurite _azurite;
    private readonly FunctionsHostServer _host;
    private readonly Task _timers;

    private HostedService(Azurite azurite, FunctionsHostServer host, string authorityPath)
    {
        (_azurite, _host, AuthorityPath) = (azurite, host, authorityPath);
        _timers = host.TickAllAsync(BetweenTimers, _stop.Token);
    }

    public string Url => _host.Url.ToString();

    public string AuthorityPath { get; }

    public static async Task<HostedService> StartAsync(string folder, string data, int intervalSeconds, string outbound, CancellationToken cancel)
    {
        var azurite = await Azurite.StartAsync(Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "tests", "azurite")), cancel);
        var (connections, authority) = (Path.Combine(folder, "connections"), Path.Combine(folder, "host.pem"));
        var accounts = azurite.NewAccounts(1);
        await File.WriteAllLinesAsync(connections, accounts, cancel);
        var host = await FunctionsHostServer.StartAsync(
            Published.Package, HostMode.Proxying,
            new Dictionary<string, string>
            {
                ["KEYLIME_SERVICE_DATA"] = data,
                ["KEYLIME_SERVICE_INTERVAL"] = $"{intervalSeconds}",
                ["KEYLIME_SERVICE_AZURE_CONNECTIONS"] = connections,
                ["KEYLIME_SERVICE_ALLOW_OUTBOUND"] = outbound,
                ["KeylimeQueue"] = accounts[0],
            },
            cancel);
        await File.WriteAllTextAsync(authority, host.CertificatePem, cancel);
        return new HostedService(azurite, host, authority);
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        try
        {
            await _timers;
        }
        catch (OperationCanceledException)
        {
            // that is how they end
        }

        await _host.DisposeAsync();
        await _azurite.DisposeAsync();
        _stop.Dispose();
    }
}

using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Testing;

namespace Keylime.Benchmarks.Processes;

/// <summary>An emulator of Azure Storage with one account, and a way to it on which requests to tables and blobs are counted.</summary>
internal sealed class CountedAzurite : IAsyncDisposable
{
    private readonly Azurite _azurite;
    private readonly List<RequestCounter> _counters = [];

    private CountedAzurite(Azurite azurite) => (_azurite, Direct) = (azurite, azurite.NewAccounts(1));

    /// <summary>The account, by the way that is not counted.</summary>
    public string[] Direct { get; }

    /// <summary>The account, by the way that is.</summary>
    public string Counted { get; private set; } = "";

    /// <summary>Requests so far, by kind.</summary>
    public Dictionary<string, long> Counts => _counters.SelectMany(static c => c.Counts).GroupBy(static c => c.Key).ToDictionary(static g => g.Key, static g => g.Sum(static c => c.Value));

    public static async Task<CountedAzurite> StartAsync(CancellationToken cancel)
    {
        var started = new CountedAzurite(await Azurite.StartAsync(Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "tests", "azurite")), cancel));
        started.Counted = started.Direct[0];
        foreach (var name in (string[])["BlobEndpoint=", "TableEndpoint="])
        {
            var endpoint = new Uri(started.Counted.Split(';').Single(p => p.StartsWith(name, StringComparison.Ordinal))[name.Length..]);
            var counter = await RequestCounter.StartAsync(endpoint, cancel);
            started._counters.Add(counter);
            started.Counted = started.Counted.Replace(endpoint.GetLeftPart(UriPartial.Authority), counter.Url.GetLeftPart(UriPartial.Authority), StringComparison.Ordinal);
        }

        return started;
    }

    /// <summary>The account with its tables, by the way that is counted.</summary>
    public async Task<AzureAccounts> PrepareAsync(CancellationToken cancel)
    {
        var accounts = AzureAccounts.Create([AzureAccounts.FromConnectionString(Counted)]);
        await accounts.PrepareAsync(StoreServices.Kinds, cancel);
        return accounts;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var counter in _counters)
            await counter.DisposeAsync();
        await _azurite.DisposeAsync();
    }
}

using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Azure.Core;
using Azure.Data.Tables;
using Azure.Storage.Blobs;
using Azure.Storage.Queues;

namespace Keylime.Functions.Storage.Azure;

/// <summary>
/// The storage accounts that hold the fleet's state: one account does 20,000 operations a second, so ids spread over several, each id always on the same one
/// (rendezvous hashing: the account with the highest weight for the id).
/// </summary>
internal sealed class AzureAccounts
{
    public const string Nodes = "keylimenodes";
    public const string Verdicts = "keylimeverdicts";
    public const string Events = "keylimeevents";
    public const string Outbox = "keylimeoutbox";
    public const string Deliveries = "keylimedeliveries";

    /// <summary>The queues of <see cref="DeliveryQueues"/>, on the first account. The host makes a poison queue by that name too (functions/triggers).</summary>
    public const string Work = "keylime-deliveries";
    public const string Poison = "keylime-deliveries-poison";
    private const string Meta = "keylimemeta";
    private const string Blobs = "keylime";

    private AzureAccounts(IReadOnlyList<AzureAccount> accounts) => All = accounts;

    /// <summary>In the order of their names, whatever order they were configured in: pages of a list go on where they ended.</summary>
    public IReadOnlyList<AzureAccount> All { get; }

    /// <summary>Whether it is what Azure takes for a name (3 to 24 of a-z 0-9), or a table endpoint.</summary>
    public static bool IsName(string nameOrUrl) =>
        nameOrUrl.Length is >= 3 and <= 24 && nameOrUrl.All(static c => char.IsAsciiLetterLower(c) || char.IsAsciiDigit(c))
        || Uri.TryCreate(nameOrUrl, UriKind.Absolute, out var url) && url is { Scheme: "https", Query: "", UserInfo: "" };

    public DeliveryQueues Queues => new(new AzureWorkQueue(All[0].Queues.GetQueueClient(Work)), new AzureWorkQueue(All[0].Queues.GetQueueClient(Poison)));

    public static string TableOf(string kind) => "keylime" + kind;

    /// <exception cref="StorageUnavailableException">There are none, or two of one name.</exception>
    public static AzureAccounts Create(IEnumerable<AzureAccount> accounts)
    {
        AzureAccount[] all = [.. accounts.OrderBy(static a => a.Name, StringComparer.Ordinal)];
        if (all.Length == 0)
            throw new StorageUnavailableException("No storage account is configured.");
        return all.Zip(all.Skip(1)).Any(static pair => pair.First.Name == pair.Second.Name)
            ? throw new StorageUnavailableException("A storage account is configured twice.")
            : new AzureAccounts(all);
    }

    public AzureAccount For(string key)
    {
        var best = All[0];
        var weight = ulong.MinValue;
        foreach (var account in All.Count == 1 ? [] : All)
        {
            var own = Weight(account.Name, key);
            if (own >= weight)
                (best, weight) = (account, own);
        }

        return best;
    }

    /// <summary>Makes what is missing: tables, containers and queues; and checks that the set of accounts is the one that the rows were spread over.</summary>
    /// <exception cref="StorageUnavailableException">An account does not answer, or the set is another one.</exception>
    public async Task PrepareAsync(IEnumerable<string> kinds, CancellationToken cancel)
    {
        var names = string.Join(' ', All.Select(static a => a.Name));
        string[] tables = [Nodes, Verdicts, Events, Outbox, Deliveries, Meta, .. kinds.Select(TableOf)];
        foreach (var account in All)
        {
            await AzureErrors.TranslateAsync(async () =>
            {
                foreach (var table in tables)
                    await account.Tables.GetTableClient(table).CreateIfNotExistsAsync(cancel);
                await account.Blobs.CreateIfNotExistsAsync(cancellationToken: cancel);
                foreach (var queue in account == All[0] ? (string[])[Work, Poison] : [])
                    await account.Queues.GetQueueClient(queue).CreateIfNotExistsAsync(cancellationToken: cancel);
                return true;
            });

            var meta = account.Table(Meta);
            await meta.TryAddAsync(new TableEntity("accounts", "all") { ["Names"] = names }, cancel);
            var recorded = (await meta.FindAsync("accounts", "all", cancel))?.GetString("Names");
            if (recorded != names)
            {
                throw new StorageUnavailableException(
                    $"The rows are spread over the accounts '{recorded}', and '{names}' is configured: with another set, rows would not be found. Rows cannot be moved between accounts yet.");
            }
        }
    }

    private static ulong Weight(string account, string key)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes($"{account}\0{key}"), hash);
        return BinaryPrimitives.ReadUInt64BigEndian(hash);
    }

    /// <summary>An account by its connection string, as the emulator has one.</summary>
    public static AzureAccount FromConnectionString(string connection, Action<ClientOptions>? configure = null)
    {
        var tables = new TableServiceClient(connection, Options(new TableClientOptions(), configure));
        var blobs = new BlobServiceClient(connection, Options(new BlobClientOptions(), configure));
        var queues = new QueueServiceClient(connection, Options(new QueueClientOptions(), configure));
        return new AzureAccount(tables.AccountName, tables, blobs.GetBlobContainerClient(Blobs), queues);
    }

    /// <summary>An account by its name or its table endpoint, with an identity of Entra ID.</summary>
    public static AzureAccount FromName(string nameOrUrl, TokenCredential credential, Action<ClientOptions>? configure = null)
    {
        var url = nameOrUrl.Contains("://", StringComparison.Ordinal) ? nameOrUrl : $"https://{nameOrUrl}.table.core.windows.net";
        var tables = new TableServiceClient(new Uri(url), credential, Options(new TableClientOptions(), configure));
        var blobs = new BlobServiceClient(new Uri(url.Replace(".table.", ".blob.", StringComparison.Ordinal)), credential, Options(new BlobClientOptions(), configure));
        var queues = new QueueServiceClient(new Uri(url.Replace(".table.", ".queue.", StringComparison.Ordinal)), credential, Options(new QueueClientOptions(), configure));
        return new AzureAccount(tables.AccountName, tables, blobs.GetBlobContainerClient(Blobs), queues);
    }

    // 429, 500, 503 and lost connections: tried again, with pauses that double, with jitter, and never before Retry-After.
    private static T Options<T>(T options, Action<ClientOptions>? configure)
        where T : ClientOptions
    {
        options.Retry.Mode = RetryMode.Exponential;
        options.Retry.MaxRetries = 5;
        options.Retry.Delay = TimeSpan.FromMilliseconds(200);
        options.Retry.MaxDelay = TimeSpan.FromSeconds(5);
        options.Retry.NetworkTimeout = TimeSpan.FromSeconds(20);
        options.Diagnostics.IsLoggingContentEnabled = false;
        configure?.Invoke(options);
        return options;
    }
}

/// <summary>One storage account: its tables, the container of its blobs, and its queues.</summary>
internal sealed record AzureAccount(string Name, TableServiceClient Tables, BlobContainerClient Blobs, QueueServiceClient Queues)
{
    private readonly ConcurrentDictionary<string, AzureTable> _tables = new();

    // A client is made once: it makes its own diagnostics and pipeline, more than a request of it costs.
    public AzureTable Table(string name) => _tables.GetOrAdd(name, static (name, tables) => new AzureTable(tables.GetTableClient(name)), Tables);
}

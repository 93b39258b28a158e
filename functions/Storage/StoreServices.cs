using Azure.Core;
using Keylime.Functions.Hosting;
using Keylime.Functions.Notifications;
using Keylime.Functions.Storage.Azure;
using Keylime.Functions.Storage.Sqlite;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Storage;

/// <summary>The stores that the options ask for.</summary>
internal static class StoreServices
{
    // As spans name them (docs/telemetry.md).
    private const string Sqlite = "sqlite";
    private const string Files = "files";
    private const string Tables = "azure.tables";
    private const string Blobs = "azure.blobs";

    /// <summary>The service key of the store that holds events and does nothing else; whoever tells one takes <see cref="IEventStore"/> without a key.</summary>
    public const string EventRows = "event rows";

    /// <exception cref="StorageUnavailableException">The store cannot be opened.</exception>
    public static void AddStores(this IServiceCollection services, ServiceOptions options)
    {
        services.AddSingleton<UnreadableRows>();
        services.AddSingleton<IEventStore, OutboxedEvents>();
        if (options.AzureAccounts.Count > 0 || options.AzureConnections is not null)
            AddAzure(services, options);
        else
            AddSqlite(services, options);
    }

    private static void AddSqlite(IServiceCollection services, ServiceOptions options)
    {
        services.AddSingleton(provider => SqliteDatabase.Open(Path.Combine(options.Data, "keylime.db"), () => provider.GetRequiredService<Instruments>().Throttled("busy")));
        services.AddSingleton<IStoreHealth>(provider => provider.GetRequiredService<SqliteDatabase>());
        services.AddSingleton<INodeStore>(static p => new TracedNodeStore(new SqliteNodeStore(p.GetRequiredService<SqliteDatabase>(), p.GetRequiredService<UnreadableRows>()), Sqlite));
        services.AddSingleton<IVerdictStore>(static p => new TracedVerdictStore(new SqliteVerdictStore(p.GetRequiredService<SqliteDatabase>(), p.GetRequiredService<UnreadableRows>()), Sqlite));
        services.AddKeyedSingleton<IEventStore>(EventRows, static (p, _) => new TracedEventStore(new SqliteEventStore(p.GetRequiredService<SqliteDatabase>(), p.GetRequiredService<UnreadableRows>()), Sqlite));
        services.AddSingleton<IOutbox>(static p => new TracedOutbox(new SqliteOutbox(p.GetRequiredService<SqliteDatabase>(), p.GetRequiredService<UnreadableRows>()), Sqlite));
        services.AddSingleton(static provider =>
        {
            var clock = provider.GetRequiredService<TimeProvider>();
            return new DeliveryQueues(new MemoryWorkQueue(clock), new MemoryWorkQueue(clock));
        });
        services.AddSingleton<IBlobStore>(_ => new TracedBlobStore(new FileBlobStore(Path.Combine(options.Data, "blobs")), Files));
        services.AddSingleton<ILeader, OnlyLeader>();
        AddRecords(services, new SqliteRecords());
    }

    private static void AddAzure(IServiceCollection services, ServiceOptions options)
    {
        services.AddSingleton(provider => Open(options, provider.GetRequiredService<TokenCredential>(), provider.GetRequiredService<Instruments>()));
        services.AddSingleton<IStoreHealth, AzureHealth>();
        services.AddSingleton<INodeStore>(static p => new TracedNodeStore(new AzureNodeStore(p.GetRequiredService<AzureAccounts>(), p.GetRequiredService<UnreadableRows>()), Tables));
        services.AddSingleton<IVerdictStore>(static p => new TracedVerdictStore(new AzureVerdictStore(p.GetRequiredService<AzureAccounts>(), p.GetRequiredService<UnreadableRows>()), Tables));
        services.AddKeyedSingleton<IEventStore>(EventRows, static (p, _) => new TracedEventStore(new AzureEventStore(p.GetRequiredService<AzureAccounts>(), p.GetRequiredService<UnreadableRows>()), Tables));
        services.AddSingleton<IOutbox>(static p => new TracedOutbox(new AzureOutbox(p.GetRequiredService<AzureAccounts>(), p.GetRequiredService<UnreadableRows>()), Tables));
        services.AddSingleton(static provider => provider.GetRequiredService<AzureAccounts>().Queues);
        services.AddSingleton<IBlobStore>(static p => new TracedBlobStore(new AzureBlobStore(p.GetRequiredService<AzureAccounts>(), p.GetRequiredService<ServiceOptions>(), p.GetRequiredService<TimeProvider>()), Blobs));
        AddLeader(services, options);
        AddRecords(services, new AzureRecords());
    }

    private static void AddLeader(IServiceCollection services, ServiceOptions options)
    {
        if (!options.LeadsByLease)
        {
            services.AddSingleton<ILeader, OnlyLeader>(); // the host's timers call one instance
            return;
        }

        services.AddSingleton<LeaseLeader>();
        services.AddSingleton<ILeader>(static provider => provider.GetRequiredService<LeaseLeader>());
        services.AddHostedService(static provider => provider.GetRequiredService<LeaseLeader>());
    }

    /// <summary>Counts what the account says, each time that a request goes out.</summary>
    internal static void Watch(ClientOptions client, Instruments instruments) => client.AddPolicy(new StorageWatch(instruments), HttpPipelinePosition.PerRetry);

    private static AzureAccounts Open(ServiceOptions options, TokenCredential credential, Instruments instruments)
    {
        void Watch(ClientOptions client) => StoreServices.Watch(client, instruments);
        var byName = options.AzureAccounts.Select(name => Azure.AzureAccounts.FromName(name, credential, Watch));
        var byConnection = options.AzureConnections is { } path
            ? File.ReadLines(path).Where(static line => !string.IsNullOrWhiteSpace(line)).Select(line => Azure.AzureAccounts.FromConnectionString(line.Trim(), Watch))
            : [];
        AzureAccounts accounts;
        try
        {
            accounts = Azure.AzureAccounts.Create(byName.Concat(byConnection));
        }
        catch (Exception e) when (e is FormatException or UriFormatException or InvalidOperationException)
        {
            // what a connection string holds is a secret: its text goes nowhere
            throw new StorageUnavailableException("An Azure account is not named by its name, its table endpoint or a connection string.");
        }

        accounts.PrepareAsync(Kinds, CancellationToken.None).GetAwaiter().GetResult(); // at the start: there is nobody yet to wait for
        return accounts;
    }

    /// <summary>The names of the kinds of records.</summary>
    public static IReadOnlyList<string> Kinds { get; } =
    [
        RecordKinds.Registrations.Name, RecordKinds.Policies.Name, RecordKinds.EndorsementOwners.Name, RecordKinds.KnownEndorsementKeys.Name,
        RecordKinds.TrustedCertificates.Name, RecordKinds.EnrolmentRules.Name, RecordKinds.AccessTokens.Name,
        RecordKinds.PolicySigners.Name, RecordKinds.Timers.Name, RecordKinds.Webhooks.Name,
        RecordKinds.Payloads.Name, RecordKinds.PayloadShares.Name, RecordKinds.PayloadClaims.Name, RecordKinds.Releases.Name, RecordKinds.MasterKeys.Name,
        RecordKinds.Notices.Name, RecordKinds.NoticeClaims.Name, RecordKinds.CompiledForms.Name,
    ];

    private static void AddRecords(IServiceCollection services, IRecordStores make)
    {
        Add(RecordKinds.Registrations);
        Add(RecordKinds.Policies);
        Add(RecordKinds.EndorsementOwners);
        Add(RecordKinds.KnownEndorsementKeys);
        Add(RecordKinds.TrustedCertificates);
        Add(RecordKinds.EnrolmentRules);
        Add(RecordKinds.AccessTokens);
        Add(RecordKinds.PolicySigners);
        Add(RecordKinds.Timers);
        Add(RecordKinds.Webhooks);
        Add(RecordKinds.Payloads);
        Add(RecordKinds.PayloadShares);
        Add(RecordKinds.PayloadClaims);
        Add(RecordKinds.Releases);
        Add(RecordKinds.MasterKeys);
        Add(RecordKinds.Notices);
        Add(RecordKinds.NoticeClaims);
        Add(RecordKinds.CompiledForms);

        void Add<T>(RecordKind<T> kind)
            where T : class => services.AddSingleton(provider => make.Create(provider, kind));
    }

    private interface IRecordStores
    {
        IRecordStore<T> Create<T>(IServiceProvider provider, RecordKind<T> kind)
            where T : class;
    }

    private sealed class SqliteRecords : IRecordStores
    {
        public IRecordStore<T> Create<T>(IServiceProvider provider, RecordKind<T> kind)
            where T : class =>
            new TracedRecordStore<T>(new SqliteRecordStore<T>(provider.GetRequiredService<SqliteDatabase>(), kind, provider.GetRequiredService<UnreadableRows>()), Sqlite, kind.Name);
    }

    private sealed class AzureRecords : IRecordStores
    {
        public IRecordStore<T> Create<T>(IServiceProvider provider, RecordKind<T> kind)
            where T : class =>
            new TracedRecordStore<T>(new AzureRecordStore<T>(provider.GetRequiredService<AzureAccounts>(), kind, provider.GetRequiredService<UnreadableRows>()), Tables, kind.Name);
    }
}

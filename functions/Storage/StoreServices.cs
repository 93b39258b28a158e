using Azure.Core;
using Keylime.Functions.Hosting;
using Keylime.Functions.Notifications;
using Keylime.Functions.Storage.Azure;
using Keylime.Functions.Storage.Sqlite;

namespace Keylime.Functions.Storage;

/// <summary>The stores that the options ask for.</summary>
internal static class StoreServices
{
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
        services.AddSingleton(_ => SqliteDatabase.Open(Path.Combine(options.Data, "keylime.db")));
        services.AddSingleton<IStoreHealth>(provider => provider.GetRequiredService<SqliteDatabase>());
        services.AddSingleton<INodeStore, SqliteNodeStore>();
        services.AddSingleton<IVerdictStore, SqliteVerdictStore>();
        services.AddKeyedSingleton<IEventStore, SqliteEventStore>(EventRows);
        services.AddSingleton<IOutbox, SqliteOutbox>();
        services.AddSingleton<IBlobStore>(_ => new FileBlobStore(Path.Combine(options.Data, "blobs")));
        AddRecords(services, new SqliteRecords());
    }

    private static void AddAzure(IServiceCollection services, ServiceOptions options)
    {
        services.AddSingleton(provider => Open(options, provider.GetRequiredService<TokenCredential>()));
        services.AddSingleton<IStoreHealth, AzureHealth>();
        services.AddSingleton<INodeStore, AzureNodeStore>();
        services.AddSingleton<IVerdictStore, AzureVerdictStore>();
        services.AddKeyedSingleton<IEventStore, AzureEventStore>(EventRows);
        services.AddSingleton<IOutbox, AzureOutbox>();
        services.AddSingleton<IBlobStore, AzureBlobStore>();
        AddRecords(services, new AzureRecords());
    }

    private static AzureAccounts Open(ServiceOptions options, TokenCredential credential)
    {
        var byName = options.AzureAccounts.Select(name => Azure.AzureAccounts.FromName(name, credential));
        var byConnection = options.AzureConnections is { } path
            ? File.ReadLines(path).Where(static line => !string.IsNullOrWhiteSpace(line)).Select(static line => Azure.AzureAccounts.FromConnectionString(line.Trim()))
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
            new SqliteRecordStore<T>(provider.GetRequiredService<SqliteDatabase>(), kind, provider.GetRequiredService<UnreadableRows>());
    }

    private sealed class AzureRecords : IRecordStores
    {
        public IRecordStore<T> Create<T>(IServiceProvider provider, RecordKind<T> kind)
            where T : class =>
            new AzureRecordStore<T>(provider.GetRequiredService<AzureAccounts>(), kind, provider.GetRequiredService<UnreadableRows>());
    }
}

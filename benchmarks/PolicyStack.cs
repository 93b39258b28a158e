using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Benchmarks;

/// <summary>What the service reads policies with, on a data directory.</summary>
internal sealed class PolicyStack : IDisposable
{
    private readonly SqliteDatabase _database;

    public PolicyStack(string folder)
    {
        var options = new ServiceOptions { Data = folder };
        _database = SqliteDatabase.Open(Path.Combine(folder, "keylime.db"));
        var unreadable = new UnreadableRows(TimeProvider.System, NullLogger<UnreadableRows>.Instance);
        Blobs = new FileBlobStore(Directory.CreateDirectory(Path.Combine(folder, "blobs")).FullName);
        Forms = new CompiledForms(
            Blobs, new SqliteRecordStore<CompiledForm>(_database, RecordKinds.CompiledForms, unreadable), KeyRing.LoadOrCreate(Path.Combine(folder, "keys")), NullLogger<CompiledForms>.Instance);
        var signers = new PolicySigners(new SqliteRecordStore<PolicySignerRecord>(_database, RecordKinds.PolicySigners, unreadable), NullLogger<PolicySigners>.Instance);
        Recent = new RecentPolicies(options, TimeProvider.System);
        Texts = new PolicyTexts(
            Blobs, new SqliteRecordStore<PolicyRecord>(_database, RecordKinds.Policies, unreadable), signers, Recent, Forms, options, TimeProvider.System, NullLogger<PolicyTexts>.Instance);
        Policies = new CompiledPolicies(Texts, Recent, NullLogger<CompiledPolicies>.Instance);
    }

    public IBlobStore Blobs { get; }

    public CompiledForms Forms { get; }

    public RecentPolicies Recent { get; }

    public PolicyTexts Texts { get; }

    public CompiledPolicies Policies { get; }

    public void Dispose() => _database.Dispose();
}

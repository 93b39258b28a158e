using System.Text.Json.Serialization.Metadata;

namespace Keylime.Functions.Storage;

/// <summary>What a store has to know of a kind of record.</summary>
/// <param name="Name">Of the table; letters only.</param>
/// <param name="Schema">The version that a row says it is of; rows of every earlier version than <paramref name="Newest"/> are read for ever.</param>
/// <param name="Spread">Many rows: over all partitions and accounts. Otherwise they are few, and stand together in the order of their keys.</param>
internal sealed record RecordKind<T>(string Name, Func<T, string> Key, JsonTypeInfo<T> Type, Func<T, int> Schema, int Newest, bool Spread)
    where T : class
{
    /// <summary>The key's column in SQLite.</summary>
    public string KeyColumn { get; init; } = "name";

    /// <summary>See <see cref="RowCodec{T}"/>; only kinds whose rows are changed in part have one.</summary>
    public Func<T, T>? Upgrade { get; init; }
}

/// <summary>The kinds of records that there are.</summary>
internal static class RecordKinds
{
    public static readonly RecordKind<Registration> Registrations =
        new("registrations", r => r.Id.ToString(), StorageJson.Default.Registration, r => r.Schema, Registration.CurrentSchema, Spread: true)
        { KeyColumn = "id", Upgrade = static r => r with { Schema = Registration.CurrentSchema } };

    public static readonly RecordKind<PolicyRecord> Policies =
        new("policies", p => p.Name, StorageJson.Default.PolicyRecord, p => p.Schema, PolicyRecord.CurrentSchema, Spread: false);

    public static readonly RecordKind<PolicySignerRecord> PolicySigners =
        new("signers", s => s.Name, StorageJson.Default.PolicySignerRecord, s => s.Schema, PolicySignerRecord.CurrentSchema, Spread: false);

    public static readonly RecordKind<CompiledForm> CompiledForms =
        new("compiled", f => f.Key, StorageJson.Default.CompiledForm, f => f.Schema, CompiledForm.CurrentSchema, Spread: true);

    public static readonly RecordKind<EndorsementOwner> EndorsementOwners =
        new("owners", o => o.EndorsementKeyHash, StorageJson.Default.EndorsementOwner, o => o.Schema, EndorsementOwner.CurrentSchema, Spread: true);

    public static readonly RecordKind<KnownEndorsementKey> KnownEndorsementKeys =
        new("knownkeys", k => k.EndorsementKeyHash, StorageJson.Default.KnownEndorsementKey, k => k.Schema, KnownEndorsementKey.CurrentSchema, Spread: true);

    public static readonly RecordKind<TrustedCertificate> TrustedCertificates =
        new("trusted", t => t.Thumbprint, StorageJson.Default.TrustedCertificate, t => t.Schema, TrustedCertificate.CurrentSchema, Spread: false);

    public static readonly RecordKind<EnrolmentRule> EnrolmentRules =
        new("rules", r => r.Name, StorageJson.Default.EnrolmentRule, r => r.Schema, EnrolmentRule.CurrentSchema, Spread: false);

    public static readonly RecordKind<TimerState> Timers =
        new("timers", t => t.Name, StorageJson.Default.TimerState, t => t.Schema, TimerState.CurrentSchema, Spread: false);

    public static readonly RecordKind<Webhook> Webhooks =
        new("webhooks", w => w.Name, StorageJson.Default.Webhook, w => w.Schema, Webhook.CurrentSchema, Spread: false);

    public static readonly RecordKind<Payload> Payloads =
        new("payloads", p => p.Name, StorageJson.Default.Payload, p => p.Schema, Payload.CurrentSchema, Spread: false);

    public static readonly RecordKind<PayloadShare> PayloadShares =
        new("shares", s => s.Key, StorageJson.Default.PayloadShare, s => s.Schema, PayloadShare.CurrentSchema, Spread: true);

    public static readonly RecordKind<PayloadClaim> PayloadClaims =
        new("claims", c => c.Key, StorageJson.Default.PayloadClaim, c => c.Schema, PayloadClaim.CurrentSchema, Spread: true);

    /// <summary>Many, and yet together, to be read in order: no more come in a second than the vault unwraps keys, which is far from what a partition takes.</summary>
    public static readonly RecordKind<Release> Releases =
        new("releases", r => r.Key, StorageJson.Default.Release, r => r.Schema, Release.CurrentSchema, Spread: false);

    public static readonly RecordKind<NoticeRecord> Notices =
        new("notices", n => n.Key, StorageJson.Default.NoticeRecord, n => n.Schema, NoticeRecord.CurrentSchema, Spread: false);

    public static readonly RecordKind<NoticeClaim> NoticeClaims =
        new("noticeclaims", c => c.EventId, StorageJson.Default.NoticeClaim, c => c.Schema, NoticeClaim.CurrentSchema, Spread: true);

    public static readonly RecordKind<WrappedMasterKey> MasterKeys =
        new("masterkeys", k => k.Name, StorageJson.Default.WrappedMasterKey, k => k.Schema, WrappedMasterKey.CurrentSchema, Spread: false);

    public static readonly RecordKind<AccessToken> AccessTokens =
        new("tokens", t => t.Name, StorageJson.Default.AccessToken, t => t.Schema, AccessToken.CurrentSchema, Spread: false);
}

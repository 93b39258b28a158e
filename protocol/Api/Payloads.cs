using System.Diagnostics.CodeAnalysis;
using Keylime.Protocol.Payloads;

namespace Keylime.Protocol.Api;

/// <summary><c>PUT /v1/payloads/{name}</c>: a secret for machines, encrypted by whoever puts it. The service has never seen what is in it.</summary>
/// <param name="Size">Of the plain content, in bytes.</param>
/// <param name="Parts">The ciphertext, put before with <c>PUT /v1/payload-parts/{digest}</c>, in order.</param>
/// <param name="KeyVersion">The version of the vault's key that wraps this one.</param>
/// <param name="WrappedKey">The payload's key of 32 bytes, or with <see cref="Split"/> a part of it, by RSA-OAEP with SHA-256.</param>
/// <param name="For">Whom it is meant for.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record PutPayload(long Size, IReadOnlyList<PayloadPart> Parts, string KeyVersion, byte[] WrappedKey, PayloadAudience For)
{
    public PayloadTerms Terms { get; init => field = value ?? new(); } = new(); // the generated reader sets what is left out to null

    /// <summary>
    /// The key is in two parts: the vault's, and one that was sealed to each machine by whoever put the payload, with
    /// <c>PUT /v1/payloads/{name}/shares/{id}</c>. Neither opens anything alone.
    /// </summary>
    public bool Split { get; init; }
}

/// <summary>Whom a payload is meant for: machines that are all of what is given. Nothing given means nobody, and is refused.</summary>
public sealed record PayloadAudience
{
    /// <summary>One of these nodes.</summary>
    public IReadOnlyList<AgentId>? Nodes { get; init; }

    /// <summary>A node of this group.</summary>
    public string? Group { get; init; }

    /// <summary>A node that this runtime or boot policy judges.</summary>
    public string? Policy { get; init; }
}

/// <summary>What a machine must have proven when it asks.</summary>
public sealed record PayloadTerms
{
    public const string Identity = "identity";
    public const string Boot = "boot";
    public const string Runtime = "runtime";

    /// <summary>
    /// What the last verdict must cover: <c>identity</c> (the TPM is certified by its maker), <c>boot</c> (a boot policy judged the event log) and <c>runtime</c> (a runtime policy judged the
    /// measurement list); identity and boot if left out.
    /// </summary>
    public IReadOnlyList<string> Require { get; init => field = value ?? [Identity, Boot]; } = [Identity, Boot];

    /// <summary>How old the last verdict may be, in seconds, from its challenge on; twice the node's interval if left out.</summary>
    public int? MaxAgeSeconds { get; init; }

    /// <summary>The PCRs whose values of that verdict are needed to open it, 0 to 23; 0, 2, 4 and 7 if left out.</summary>
    public IReadOnlyList<int> Pcrs { get; init => field = value ?? [0, 2, 4, 7]; } = [0, 2, 4, 7];

    /// <summary>Released once to a node, and never again.</summary>
    public bool Once { get; init; }

    public DateTimeOffset? ExpiresAt { get; init; }
}

/// <summary>A payload, as it is kept; its key is not shown.</summary>
/// <param name="Version">Counts up each time that something is put under the name.</param>
/// <param name="CreatedBy">As <c>token NAME</c>.</param>
public sealed record PayloadMessage(
    string Name, long Version, long Size, int Parts, PayloadAudience For, PayloadTerms Terms, string KeyVersion, bool Split, DateTimeOffset CreatedAt, string CreatedBy)
{
    /// <summary>Since when nobody gets it any more: its key is deleted.</summary>
    public DateTimeOffset? RevokedAt { get; init; }

    public string? RevokedBy { get; init; }
}

public sealed record PayloadList(IReadOnlyList<PayloadMessage> Payloads);

/// <summary>Whether a node that a payload is meant for would get it now.</summary>
/// <param name="Code"><c>granted</c>, or why not: stable.</param>
public sealed record PayloadGrant(AgentId Node, string Code, string Detail);

public sealed record PayloadGrantList(IReadOnlyList<PayloadGrant> Grants)
{
    public string? Next { get; init; }
}

/// <summary>A decision on a request for a payload: a line of the ledger.</summary>
/// <param name="Code"><c>granted</c>, or why not: stable.</param>
public sealed record ReleaseMessage(DateTimeOffset At, string Payload, long Version, AgentId Node, bool Granted, string Code, string Detail)
{
    /// <summary>The attestation whose verdict decided.</summary>
    public long? Attestation { get; init; }

    /// <summary>What the agent said became of it.</summary>
    public PayloadOutcome? Outcome { get; init; }

    public DateTimeOffset? ReportedAt { get; init; }

    public string? Report { get; init; }
}

public sealed record ReleaseList(IReadOnlyList<ReleaseMessage> Releases)
{
    public string? Next { get; init; }
}

/// <summary>A key of the vault.</summary>
/// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record VaultKeyMessage(string Version, byte[] PublicKey);

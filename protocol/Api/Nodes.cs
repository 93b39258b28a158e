using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;

namespace Keylime.Protocol.Api;

/// <summary>Where a node stands. Computed from stored times whenever it is asked for; unknown is not green.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<NodeState>))]
public enum NodeState
{
    /// <summary>Waits to be admitted, or to attest for the first time; its reason says which.</summary>
    [JsonStringEnumMemberName("pending")] Pending,

    /// <summary>Its last verdict was a pass, and its next one is not overdue.</summary>
    [JsonStringEnumMemberName("trusted")] Trusted,

    /// <summary>Its last verdict was a pass, and its next one is overdue.</summary>
    [JsonStringEnumMemberName("late")] Late,

    /// <summary>Nothing came for so long that the last verdict says nothing any more.</summary>
    [JsonStringEnumMemberName("silent")] Silent,

    /// <summary>Its last verdict was a fail, however long ago.</summary>
    [JsonStringEnumMemberName("failed")] Failed,

    /// <summary>An operator took it out; it may not attest.</summary>
    [JsonStringEnumMemberName("retired")] Retired,
}

/// <summary><c>PUT /v1/nodes/{id}</c>: admits a registered and activated agent, and pins the attestation key that it has now.</summary>
public sealed record EnrolNode
{
    /// <summary>The name of a stored runtime policy. Without one nothing judges what the node runs, and its coverage says so.</summary>
    public string? RuntimePolicy { get; init; }

    /// <summary>The name of a stored boot policy. Without one nobody judges what the firmware measured, and its coverage says so.</summary>
    public string? BootPolicy { get; init; }

    /// <summary>PCR index to the values allowed, in hex, of the bank quoted: Keylime's <c>tpm_policy</c>.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>>? Pcrs { get; init; }

    /// <summary>Seconds from one attestation to the next; the service's default if left out.</summary>
    public int? IntervalSeconds { get; init; }

    /// <summary>
    /// What heals the node once it failed: <c>pass</c>, which is the default, <c>passes:N</c> for so many in a row (2 to 100), or <c>operator</c>, for a pass and
    /// <c>POST /v1/nodes/{id}/recover</c>.
    /// </summary>
    public string? Recovery { get; init; }

    /// <summary>The group of machines that it belongs to: a name of the operator's, 1 to 80 of <c>A-Z a-z 0-9 _ . -</c>.</summary>
    public string? Group { get; init; }

    /// <summary>The attestation key's name in hex, where the operator knows it: another one is refused.</summary>
    public string? AttestationKeyName { get; init; }
}

/// <summary><c>PATCH /v1/nodes/{id}</c>: what changes of a node under watch. What is left out stays as it is; its keys never change this way.</summary>
public sealed record UpdateNode
{
    /// <summary>Another runtime policy; an empty text for none.</summary>
    public string? RuntimePolicy { get; init; }

    /// <summary>Another boot policy; an empty text for none.</summary>
    public string? BootPolicy { get; init; }

    /// <summary>Other allowed PCR values; an empty object for none.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<string>>? Pcrs { get; init; }

    public int? IntervalSeconds { get; init; }

    /// <summary>Another way to recover, as in <see cref="EnrolNode"/>.</summary>
    public string? Recovery { get; init; }

    /// <summary>Another group; an empty text for none.</summary>
    public string? Group { get; init; }
}

/// <summary>A node as a list shows it.</summary>
public sealed record NodeSummary
{
    public required AgentId Id { get; init; }

    public required NodeState State { get; init; }

    /// <summary>One sentence: why it is in this state.</summary>
    public required string Reason { get; init; }

    public required Coverage Coverage { get; init; }

    public string? RuntimePolicy { get; init; }

    public string? BootPolicy { get; init; }

    public string? Group { get; init; }

    public required int IntervalSeconds { get; init; }

    public required DateTimeOffset EnrolledAt { get; init; }

    /// <summary>When the last evidence was judged.</summary>
    public DateTimeOffset? LastVerdictAt { get; init; }

    /// <summary>When the next evidence is expected.</summary>
    public DateTimeOffset? NextExpectedAt { get; init; }

    /// <summary>Attestations judged since enrolment, passed and failed.</summary>
    public required long Attestations { get; init; }
}

/// <summary>A node, whole.</summary>
public sealed record NodeDetails
{
    public required NodeSummary Node { get; init; }

    /// <summary>The pinned attestation key's name, in hex.</summary>
    public required string AttestationKeyName { get; init; }

    /// <summary><c>rsa-2048</c>, <c>ecc-nist-p256</c> …, of the attestation key.</summary>
    public required string AttestationKeyType { get; init; }

    /// <summary>SHA-256 of the endorsement key's SubjectPublicKeyInfo, in hex.</summary>
    public required string EndorsementKeyHash { get; init; }

    /// <summary>The name, in hex, of another attestation key that the same TPM has proven, and that waits for approval.</summary>
    public string? ProposedKeyName { get; init; }

    public required IReadOnlyDictionary<string, IReadOnlyList<string>> Pcrs { get; init; }

    /// <summary>What heals it once it failed.</summary>
    public string? Recovery { get; init; }

    public VerdictMessage? LastVerdict { get; init; }

    /// <summary>The last pass, where the last verdict is none.</summary>
    public DateTimeOffset? LastPassAt { get; init; }
}

public sealed record NodeList(IReadOnlyList<NodeSummary> Nodes)
{
    /// <summary>Give it back as <c>?after=</c> for the next page; left out on the last one.</summary>
    public string? Next { get; init; }
}

/// <summary>What a verdict looked at. A layer that nobody judged is never part of a pass by default.</summary>
/// <param name="Identity">
/// How well the TPM is known: <c>ek-certificate</c> or <c>iak-certificate</c> (chains to a trusted root), or weaker: <c>ek-list</c> (on the operator's list),
/// <c>ek-key</c> (nobody vouches for it), <c>none</c>.
/// </param>
/// <param name="Boot">
/// <c>event-log</c> where a boot policy judged the firmware's log, replayed into the quoted PCRs; <c>pcr-values</c> where allowed PCR values were compared; else <c>none</c>.
/// </param>
/// <param name="Runtime"><c>ima</c> where a runtime policy judged the measurement list, else <c>none</c>.</param>
public sealed record Coverage(string Identity, string Boot, string Runtime);

/// <summary>The judgement on one attestation, with what it pinned.</summary>
public sealed record VerdictMessage
{
    /// <summary>The number of the attestation, from 0, one for each challenge.</summary>
    public required long Attestation { get; init; }

    public required DateTimeOffset At { get; init; }

    /// <summary><c>pass</c> or <c>fail</c>.</summary>
    public required string Evaluation { get; init; }

    public required Coverage Coverage { get; init; }

    public required IReadOnlyList<FindingMessage> Findings { get; init; }

    /// <summary>How many findings there were, where not all of them are listed.</summary>
    public required int FindingCount { get; init; }

    /// <summary>The name of the attestation key, in hex.</summary>
    public required string AttestationKeyName { get; init; }

    /// <summary>SHA-256 of the runtime policy that judged, in hex.</summary>
    public string? RuntimePolicyDigest { get; init; }

    /// <summary>SHA-256 of the boot policy that judged, in hex.</summary>
    public string? BootPolicyDigest { get; init; }

    /// <summary>Violations of the measurement list that the policy tolerates, of the lines looked at.</summary>
    public long? ToleratedViolations { get; init; }

    /// <summary>The first measurement-list entry looked at, counted from 0.</summary>
    public long? ImaFrom { get; init; }

    /// <summary>One past the last entry that the quote proves.</summary>
    public long? ImaTo { get; init; }

    /// <summary>From the quote, so authenticated; left out where no quote verified.</summary>
    public TpmClock? Clock { get; init; }

    /// <summary>As the TPM gives it: its meaning is the maker's.</summary>
    public string? FirmwareVersion { get; init; }

    /// <summary>The PCR bank quoted.</summary>
    public string? Bank { get; init; }

    /// <summary>PCR index to value, in hex, as quoted.</summary>
    public IReadOnlyDictionary<string, string>? Pcrs { get; init; }
}

public sealed record TpmClock(ulong Milliseconds, uint ResetCount, uint RestartCount, bool Safe);

/// <param name="Code">Stable and dotted.</param>
/// <param name="Detail">For a person. Never parsed.</param>
public sealed record FindingMessage(string Code, string Detail)
{
    /// <summary>Of a measured file: its path.</summary>
    public string? Path { get; init; }

    /// <summary>Of a measured file: the digest seen, as <c>sha256:hex</c>.</summary>
    public string? Seen { get; init; }

    /// <summary>Of a measured file: the digests that the policy allows for the path.</summary>
    public IReadOnlyList<string>? Allowed { get; init; }

    /// <summary>Of a measured file: its line in the measurement list, counted from 0.</summary>
    public long? Line { get; init; }

    /// <summary>The event of the boot log that it is about.</summary>
    public BootEventMessage? Event { get; init; }
}

/// <summary>An event of the boot log that somebody objects to.</summary>
/// <param name="Index">Its place in the log; the first is 0.</param>
/// <param name="Type">As the log names it, which nobody measured: <c>EV_EFI_BOOT_SERVICES_APPLICATION</c>.</param>
public sealed record BootEventMessage(int Pcr, int Index, string Type, string Expected, string Seen);

public sealed record VerdictList(IReadOnlyList<VerdictMessage> Verdicts)
{
    public string? Next { get; init; }
}

/// <summary>Something that an operator should know of.</summary>
/// <param name="Type">Stable and dotted: <c>node.failed</c>, <c>registration.identity_conflict</c> …</param>
/// <param name="Subject">Whom it is about: a node's id, <c>policy:NAME</c>, <c>webhook:NAME</c>, <c>payload:NAME</c>, or <c>service:</c>.</param>
public sealed record EventMessage(string Id, DateTimeOffset At, string Type, string Subject, string Detail)
{
    /// <summary>How much it matters: the same for all events of a type.</summary>
    public EventSeverity? Severity { get; init; }
}

public sealed record EventList(IReadOnlyList<EventMessage> Events)
{
    public string? Next { get; init; }
}

/// <summary><c>GET /health</c>.</summary>
/// <param name="Status"><c>ok</c>, or <c>unavailable</c> with status 503.</param>
[SuppressMessage("Naming", "CA1724:Type names should not match namespaces", Justification = "There is no such namespace here.")]
public sealed record Health(string Status, string Version, string Store);

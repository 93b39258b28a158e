using Keylime.Attestation;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;
using Coverage = Keylime.Protocol.Api.Coverage;

namespace Keylime.Functions.Storage;

/// <summary>A machine under watch: what was pinned at its enrolment, and where it stands. One row, replaced as a whole.</summary>
internal sealed record Node
{
    /// <summary>The version that rows are written in. Rows of every earlier version are read for ever.</summary>
    public const int CurrentSchema = 6;

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>A row of an earlier version, as one of this: members that it does not have are left out there.</summary>
    public static Node Upgrade(Node row) => row with { Schema = CurrentSchema };

    public required AgentId Id { get; init; }

    public required DateTimeOffset EnrolledAt { get; init; }

    /// <summary>The attestation key admitted at enrolment, as a TPMT_PUBLIC. Nothing that an agent sends replaces it.</summary>
    public required ReadOnlyMemory<byte> AttestationKey { get; init; }

    public required ReadOnlyMemory<byte> AttestationKeyName { get; init; }

    /// <summary>SHA-256 of the endorsement key's SubjectPublicKeyInfo.</summary>
    public required ReadOnlyMemory<byte> EndorsementKeyHash { get; init; }

    /// <summary>How well the TPM was known at enrolment.</summary>
    public required IdentityLevel Identity { get; init; }

    /// <summary>The runtime policy's name; what it points to is looked up, and pinned, for each attestation.</summary>
    public string? RuntimePolicy { get; init; }

    /// <summary>The boot policy's name, looked up and pinned as the runtime policy's is.</summary>
    public string? BootPolicy { get; init; }

    /// <summary>PCR index to allowed values.</summary>
    public required IReadOnlyDictionary<string, IReadOnlyList<string>> Pcrs { get; init; }

    public required int IntervalSeconds { get; init; }

    /// <summary>What heals it once it failed, where a pass alone does not: <c>passes:N</c> or <c>operator</c>.</summary>
    public string? Recovery { get; init; }

    /// <summary>The group of machines that it belongs to.</summary>
    public string? Group { get; init; }

    /// <summary>Why nobody has admitted it yet; <see langword="null"/> for a node that is admitted. What waits may open no session.</summary>
    public string? Waiting { get; init; }

    /// <summary>Who admitted it: <c>token NAME</c> or <c>rule NAME</c>.</summary>
    public string? AdmittedBy { get; init; }

    public DateTimeOffset? RetiredAt { get; init; }

    /// <summary>When it was last brought back from retirement.</summary>
    public DateTimeOffset? ReactivatedAt { get; init; }

    public NodeSession? Session { get; init; }

    /// <summary>The number that the next attestation gets.</summary>
    public required long NextAttestation { get; init; }

    /// <summary>The challenge that waits for evidence.</summary>
    public OpenAttestation? Open { get; init; }

    public LastVerdict? Last { get; init; }

    public DateTimeOffset? LastPassAt { get; init; }

    /// <summary>The failure that it has passed since, and that <see cref="Recovery"/> does not call healed yet.</summary>
    public Unhealed? Unhealed { get; init; }

    public required long Attestations { get; init; }

    /// <summary>Where the next measurement list may start.</summary>
    public NodeCheckpoint? Checkpoint { get; init; }

    /// <summary>The boot whose event log passed: while it lasts the log need not come again.</summary>
    public NodeBoot? Boot { get; init; }

    /// <summary>The last clock that a quote vouched for.</summary>
    public TpmClock? Clock { get; init; }

    public DateTimeOffset? LateAt { get; init; }

    public DateTimeOffset? SilentAt { get; init; }

    /// <summary>Events of the row's last change, written with it and not told yet: whoever meets them tells them, and clears this.</summary>
    public IReadOnlyList<EventRecord>? Untold { get; init; }

    public bool IsFailed => Last is { Pass: false } || Unhealed is not null;

    /// <summary>Its last verdict is a pass that counts: what is overdue of it is silence.</summary>
    public bool IsPassed => RetiredAt is null && Last is { Pass: true } && Unhealed is null;

    /// <summary>Whether something may be left to do about it.</summary>
    /// <remarks>What was asked in advance waits for an interval, and the answer settles it, or the sweep once the node is overdue.</remarks>
    public bool IsUnsettled => Open is { InAdvance: false } || Untold is not null;
}

/// <summary>The bearer token that a proof of possession earned: its hash, so that a copy of the table opens nothing.</summary>
/// <param name="IssuedAt">When its challenge was issued. A proof for an older challenge comes too late: each works once.</param>
internal sealed record NodeSession(DateTimeOffset IssuedAt, ReadOnlyMemory<byte> TokenHash, DateTimeOffset ExpiresAt);

/// <summary>What was asked, and with what the answer will be judged: pinned here, so that nothing moves under the agent's feet.</summary>
internal sealed record OpenAttestation
{
    public required long Number { get; init; }

    /// <summary>The first number whose verdict may be in the history and not in this row.</summary>
    public required long UnsettledFrom { get; init; }

    public required ReadOnlyMemory<byte> Nonce { get; init; }

    public required TpmAlgorithm Bank { get; init; }

    /// <summary>The bits of the <see cref="PcrSet"/> asked.</summary>
    public required uint PcrBits { get; init; }

    public required TpmAlgorithm Scheme { get; init; }

    public required TpmAlgorithm SchemeHash { get; init; }

    /// <summary><see langword="null"/> where no measurement list was asked.</summary>
    public OpenImaLog? Ima { get; init; }

    /// <summary>Whether the boot log was asked for.</summary>
    public bool BootLog { get; init; }

    /// <summary>SHA-256 of the boot policy's text; null where there is none, though the node may want one.</summary>
    public string? BootPolicyDigest { get; init; }

    /// <summary>The boot that need not be proven again, where no boot log was asked for.</summary>
    public NodeBoot? Boot { get; init; }

    /// <summary>SHA-256 of the runtime policy's text; null where there is none, though the node may want one.</summary>
    public string? RuntimePolicyDigest { get; init; }

    /// <summary>The agent's word, which nobody signed.</summary>
    public required DateTimeOffset BootTime { get; init; }

    public required DateTimeOffset RequestedAt { get; init; }

    public required DateTimeOffset ExpiresAt { get; init; }

    /// <summary>Whether it was asked with the answer to the evidence before, and is not due yet then; otherwise the agent asked for it and answers at once.</summary>
    public bool InAdvance { get; init; }
}

/// <param name="Start">The proven lines that need not be sent again.</param>
/// <param name="Raw">True for the list's bytes in base64, false for its text.</param>
internal sealed record OpenImaLog(NodeCheckpoint? Start, bool Raw)
{
    /// <summary>Whether those bytes come as a member of gzip; with <see cref="Raw"/> only.</summary>
    public bool Gzip { get; init; }

    public string Format => Gzip ? ChosenParameters.Gzip : Raw ? ChosenParameters.OctetStream : ChosenParameters.PlainText;
}

/// <summary>The lines of a measurement list that passed: the next attestation starts behind them.</summary>
/// <param name="Aggregate">PCR 10 of the bank after these lines.</param>
/// <param name="BootTime">The agent's word at that attestation: a hint whether the list is still the same.</param>
/// <param name="PolicyDigest">The policy that judged them. Under another one they are judged again.</param>
internal sealed record NodeCheckpoint(
    long Entries, TpmAlgorithm Bank, ReadOnlyMemory<byte> Aggregate, uint ResetCount, DateTimeOffset BootTime, string? PolicyDigest)
{
    /// <summary>SHA-256 of what the lines left behind for the next ones to be judged by (learned keys, mapped devices), a blob; null where they left nothing.</summary>
    public string? StateDigest { get; init; }
}

/// <summary>A boot whose event log passed.</summary>
/// <param name="Values">SHA-256 over the values of the PCRs that the policy judges: as long as they stay, so does what was judged.</param>
/// <param name="BootTime">The agent's word at that attestation: a hint whether it is still the same boot.</param>
/// <param name="PolicyDigest">The policy that judged it. Under another one it is judged again.</param>
internal sealed record NodeBoot(
    TpmAlgorithm Bank, ReadOnlyMemory<byte> Values, uint ResetCount, DateTimeOffset BootTime, string PolicyDigest);

/// <summary>A failure that nothing has healed yet, though the node passes again.</summary>
/// <param name="Attestation">The last that failed.</param>
/// <param name="Passes">Passes since, in a row.</param>
internal sealed record Unhealed(long Attestation, DateTimeOffset At, string Reason, int Passes);

/// <summary>The last verdict, as far as lists show it; the whole is in the history.</summary>
/// <param name="Reason">One sentence.</param>
internal sealed record LastVerdict(long Attestation, DateTimeOffset At, bool Pass, Coverage Coverage, string Reason);

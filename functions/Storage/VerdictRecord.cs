using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Tpm;

namespace Keylime.Functions.Storage;

/// <summary>A verdict for ever: what an auditor reads, and what the node's row follows from.</summary>
internal sealed record VerdictRecord
{
    public const int CurrentSchema = 2;

    public int Schema { get; init; } = CurrentSchema;

    public required AgentId Node { get; init; }

    public required VerdictMessage Message { get; init; }

    /// <summary><c>broken_evidence_chain</c> or <c>policy_violation</c>, on a fail.</summary>
    public string? FailureReason { get; init; }

    public required DateTimeOffset RequestedAt { get; init; }

    public required DateTimeOffset EvidenceReceivedAt { get; init; }

    public required CheckpointChange CheckpointChange { get; init; }

    /// <summary>Where <see cref="CheckpointChange"/> says <c>Set</c>.</summary>
    public NodeCheckpoint? Checkpoint { get; init; }

    /// <summary>The boot that passed, where this verdict judged a boot log; the node's until another one passes.</summary>
    public NodeBoot? Boot { get; init; }

    /// <summary>The node is not in the boot that passed before: its boot log is wanted again.</summary>
    public bool BootLost { get; init; }

    /// <summary>What it judged, where that brought something new: policies can be tried against it.</summary>
    public KeptEvidence? Evidence { get; init; }

    /// <summary>The node's clock from now on; null where no quote vouched for one that may be built on.</summary>
    public TpmClock? Clock { get; init; }

    public bool Pass => Message.Evaluation == "pass";
}

/// <summary>Evidence that is kept. The logs are blobs, named by their SHA-256.</summary>
/// <param name="Nonce">That the quote answers.</param>
/// <param name="PcrBits">The bits of the <see cref="PcrSet"/> asked.</param>
internal sealed record KeptEvidence(
    ReadOnlyMemory<byte> Nonce, TpmAlgorithm Bank, uint PcrBits, TpmAlgorithm Scheme, TpmAlgorithm SchemeHash,
    ReadOnlyMemory<byte> Message, ReadOnlyMemory<byte> Signature, ReadOnlyMemory<byte> PcrValues)
{
    /// <summary>The lines of the measurement list that came, from the line that was asked for.</summary>
    public string? ImaLines { get; init; }

    public string? BootLog { get; init; }
}

/// <summary>What a verdict means for the lines that need not be sent again.</summary>
internal enum CheckpointChange
{
    /// <summary>The last pass still stands.</summary>
    Keep,

    /// <summary>These lines passed.</summary>
    Set,

    /// <summary>The list is not the one it was: the next one is wanted from its start.</summary>
    Clear,
}

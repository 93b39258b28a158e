using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage;

/// <summary>A verdict for ever: what an auditor reads, and what the node's row follows from.</summary>
internal sealed record VerdictRecord
{
    public const int CurrentSchema = 1;

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

    /// <summary>The node's clock from now on; null where no quote vouched for one that may be built on.</summary>
    public TpmClock? Clock { get; init; }

    public bool Pass => Message.Evaluation == "pass";
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

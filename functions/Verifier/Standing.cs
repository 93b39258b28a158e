using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Verifier;

/// <summary>What a verdict does to its node. It follows from the two rows alone, so whoever finds it not done can do it.</summary>
internal static class Standing
{
    private const int MaxReason = 500;

    /// <summary>The node after the verdict; itself if it has this one or a later one already.</summary>
    public static Node Apply(Node node, VerdictRecord verdict)
    {
        var message = verdict.Message;
        if (Has(node, verdict))
            return node;

        return node with
        {
            Open = node.Open?.Number == message.Attestation ? null : node.Open, // a later challenge may be open by now
            Last = new LastVerdict(message.Attestation, message.At, verdict.Pass, message.Coverage, Reason(verdict)),
            LastPassAt = verdict.Pass ? message.At : node.LastPassAt,
            Attestations = checked(node.Attestations + 1),
            Checkpoint = verdict.CheckpointChange switch
            {
                CheckpointChange.Set => verdict.Checkpoint,
                CheckpointChange.Clear => null,
                _ => node.Checkpoint,
            },
            Clock = verdict.Clock ?? node.Clock,
            LateAt = NodeStates.LateAt(message.At, node.IntervalSeconds),
            SilentAt = NodeStates.SilentAt(message.At, node.IntervalSeconds),
            Session = verdict.Pass && node.Session is { } session && SessionTokens.ExpiresAt(node, message.At) is var later && later > session.ExpiresAt
                ? session with { ExpiresAt = later }
                : node.Session,
        };
    }

    /// <summary>What an operator should know of the change. The same keys whenever it is asked, so nothing is told twice.</summary>
    public static IEnumerable<NodeEvent> Events(Node before, VerdictRecord verdict)
    {
        var message = verdict.Message;
        if (Has(before, verdict))
            yield break;

        if (before.Clock is { } old && verdict.Clock is { } now && now.ResetCount != old.ResetCount)
            yield return Of(EventTypes.NodeRebooted, $"The TPM was reset: resetCount went from {old.ResetCount} to {now.ResetCount}.");

        switch (before.Last, verdict.Pass)
        {
            case (null or { Pass: true }, false):
                yield return Of(EventTypes.NodeFailed, Reason(verdict));
                break;
            case ({ Pass: false }, true):
                yield return Of(EventTypes.NodeRecovered, $"Attestation {message.Attestation} passed again.");
                break;
            case (null, true):
                yield return Of(EventTypes.NodeTrusted, "The first attestation passed.");
                break;
            default:
                break;
        }

        NodeEvent Of(string type, string detail) => NodeEvent.Of(before.Id, message.At, type, detail, message.Attestation);
    }

    private static bool Has(Node node, VerdictRecord verdict) => node.Last?.Attestation >= verdict.Message.Attestation;

    private static string Reason(VerdictRecord verdict)
    {
        if (verdict.Message.Findings is not [var first, ..])
            return "Nothing speaks against it.";
        var text = verdict.Message.FindingCount == 1 ? first.Detail : $"{first.Detail} (and {verdict.Message.FindingCount - 1} more)";
        return text.Length <= MaxReason ? text : text[..MaxReason];
    }
}

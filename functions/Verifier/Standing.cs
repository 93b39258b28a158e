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
            Unhealed = verdict.Pass ? Recoveries.AfterPass(node.Recovery, node.Unhealed ?? Failure(node)) : null,
            Attestations = checked(node.Attestations + 1),
            Checkpoint = verdict.CheckpointChange switch
            {
                CheckpointChange.Set => verdict.Checkpoint,
                CheckpointChange.Clear => null,
                _ => node.Checkpoint,
            },
            Boot = verdict.Boot ?? (verdict.BootLost ? null : node.Boot),
            Clock = verdict.Clock ?? node.Clock,
            LateAt = NodeStates.LateAt(message.At, node.IntervalSeconds),
            SilentAt = NodeStates.SilentAt(message.At, node.IntervalSeconds),
            Session = verdict.Pass && node.Session is { } session && SessionTokens.ExpiresAt(node, message.At) is var later && later > session.ExpiresAt
                ? session with { ExpiresAt = later }
                : node.Session,
        };
    }

    /// <summary>What an operator should know of the change. The same keys whenever it is asked, so nothing is told twice.</summary>
    /// <param name="gaps">See <see cref="Moment.Gaps"/>.</param>
    public static IEnumerable<EventRecord> Events(Node before, VerdictRecord verdict, IReadOnlyList<Gap> gaps)
    {
        var message = verdict.Message;
        if (Has(before, verdict))
            yield break;

        if (before.Clock is { } old && verdict.Clock is { } now && now.ResetCount != old.ResetCount)
            yield return Of(EventTypes.NodeRebooted, $"The TPM was reset: resetCount went from {old.ResetCount} to {now.ResetCount}.");

        // The sweep may not have come to it while the node was overdue.
        var moment = new Moment(message.At, gaps);
        foreach (var overdue in Overdue(before, moment))
            yield return overdue;
        if (before.IsPassed && NodeStates.SilentAt(before, moment) <= message.At)
            yield return Of(EventTypes.NodeReturned, $"Evidence came again, after silence since {before.Last!.At:u}.");

        switch (before.Last, verdict.Pass)
        {
            case (null or { Pass: true }, false):
                yield return Of(EventTypes.NodeFailed, Reason(verdict)) with { Finding = message.Findings is [var first, ..] ? first.Code : null };
                break;
            case ({ } last, true) when before.IsFailed && !Apply(before, verdict).IsFailed:
                yield return Of(EventTypes.NodeRecovered, last.Pass ? $"Attestation {message.Attestation} was the last of the passes that are wanted of it." : $"Attestation {message.Attestation} passed again.");
                break;
            case (null, true):
                yield return Of(EventTypes.NodeTrusted, "The first attestation passed.");
                break;
            default:
                break;
        }

        EventRecord Of(string type, string detail) => EventRecord.Of(before.Id, message.At, type, detail, message.Attestation);
    }

    /// <summary>What there is to tell of a node that nothing came from until now. Their times are those of its row.</summary>
    public static IEnumerable<EventRecord> Overdue(Node node, Moment moment)
    {
        if (!node.IsPassed || node.Last is not { } last || NodeStates.LateAt(node, moment) is not { } late || NodeStates.SilentAt(node, moment) is not { } silent)
            yield break;
        if (late <= moment.Now)
            yield return EventRecord.Of(node.Id, late, EventTypes.NodeLate, $"Its evidence is overdue; the last came at {last.At:u}.", last.Attestation);
        if (silent <= moment.Now)
            yield return EventRecord.Of(node.Id, silent, EventTypes.NodeSilent, $"Nothing came since {last.At:u}: nothing is known of it any more.", last.Attestation);
    }

    private static Unhealed? Failure(Node node) => node.Last is { Pass: false } last ? new Unhealed(last.Attestation, last.At, last.Reason, 0) : null;

    private static bool Has(Node node, VerdictRecord verdict) => node.Last?.Attestation >= verdict.Message.Attestation;

    private static string Reason(VerdictRecord verdict)
    {
        if (verdict.Message.Findings is not [var first, ..])
            return "Nothing speaks against it.";
        var text = verdict.Message.FindingCount == 1 ? first.Detail : $"{first.Detail} (and {verdict.Message.FindingCount - 1} more)";
        return text.Length <= MaxReason ? text : text[..MaxReason];
    }
}

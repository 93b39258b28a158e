using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Registrar;

/// <summary>
/// What becomes of a TPM that has proven itself: a rule admits it, or it waits, and the list of nodes says why. It may be asked again at any time:
/// with each registration of the same keys the rules are asked anew, and what a crash left undone is done.
/// </summary>
internal sealed class Admission(EnrolmentRules rules, INodeStore nodes, NodeMaker maker, IEventStore events, TimeProvider clock)
{
    private const int MaxTries = 5;

    public async Task ConsiderAsync(Registration registration, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await nodes.FindAsync(registration.Id, cancel);
            if (stored is { Value.RetiredAt: not null })
                return; // an operator took it out, admitted or not: no rule brings it back
            if (stored is { Value: { Waiting: null } known })
            {
                await maker.TellEnrolledAsync(known, cancel); // the same event as at first, so it is there once
                return;
            }

            var (rule, why) = await rules.AskAsync(registration, cancel);
            var now = clock.GetUtcNow();
            var next = rule is null
                ? maker.Make(registration, new EnrolNode(), now, stored?.Value) with { Waiting = why }
                : maker.Make(registration, rule.Rule.Node ?? new EnrolNode(), now, stored?.Value) with { AdmittedBy = $"rule {rule.Name}" };
            if (stored is { Value: { Waiting: { } same, AttestationKeyName: var key } } && same == next.Waiting && key.Span.SequenceEqual(next.AttestationKeyName.Span))
            {
                await TellWaitingAsync(stored.Value, cancel); // as at first, so it is there once
                return;
            }

            if ((stored is null ? await nodes.TryAddAsync(next, cancel) : await nodes.TryReplaceAsync(stored, next, cancel)) is null)
                continue;

            if (rule is null)
                await TellWaitingAsync(next, cancel);
            else
                await maker.TellEnrolledAsync(next, cancel);
            return;
        }

        throw new StorageUnavailableException($"The row of {registration.Id} changed {MaxTries} times while it was to be admitted.");
    }

    private Task TellWaitingAsync(Node node, CancellationToken cancel) =>
        events.AddAsync(EventRecord.Of(node.Id, node.EnrolledAt, EventTypes.NodePending, node.Waiting!), cancel);
}

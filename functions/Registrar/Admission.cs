using Keylime.Functions.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Registrar;

/// <summary>
/// What becomes of a TPM that has proven itself: a rule admits it, or it waits, and the list of nodes says why. It may be asked again at any time:
/// with each registration of the same keys the rules are asked anew, and what a crash left undone is done.
/// </summary>
internal sealed class Admission(EnrolmentRules rules, INodeStore nodes, NodeMaker maker, Settlement settlement, TimeProvider clock)
{
    private const int MaxTries = 5;

    public async Task ConsiderAsync(Registration registration, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await nodes.FindAsync(registration.Id, cancel);
            if (stored is { Value.RetiredAt: not null })
                return; // an operator took it out, admitted or not: no rule brings it back
            if (stored is not null)
                stored = await settlement.SettleAsync(stored, null, cancel); // a crash may have come between the row and its event
            if (stored is { Value.Waiting: null })
                return;

            var (rule, why) = await rules.AskAsync(registration, cancel);
            var now = clock.GetUtcNow();
            var next = rule is null
                ? maker.Make(registration, new EnrolNode(), now, stored?.Value) with { Waiting = why }
                : maker.Make(registration, rule.Rule.Node ?? new EnrolNode(), now, stored?.Value) with { AdmittedBy = $"rule {rule.Name}" };
            if (stored is { Value: { Waiting: { } same, AttestationKeyName: var key } } && same == next.Waiting && key.Span.SequenceEqual(next.AttestationKeyName.Span))
                return;

            var happened = rule is null ? EventRecord.Of(next.Id, now, EventTypes.NodePending, why) : NodeMaker.Enrolled(next);
            if ((stored is null ? await settlement.AddAsync(next, happened, cancel) : await settlement.ChangeAsync(stored, next, happened, cancel)) is not null)
                return;
        }

        throw new StorageUnavailableException($"The row of {registration.Id} changed {MaxTries} times while it was to be admitted.");
    }
}

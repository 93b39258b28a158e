using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol.Api;
using Keylime.Tpm;

namespace Keylime.Functions.Nodes;

/// <summary>Nodes as our API shows them.</summary>
internal static class NodeViews
{
    public static NodeSummary Summary(Node node, Moment moment) => new()
    {
        Id = node.Id,
        State = NodeStates.Of(node, moment),
        Reason = NodeStates.Reason(node, moment),
        // Before the first verdict nobody has looked at anything but the identity.
        Coverage = node.Last?.Coverage ?? Judge.Describe(node.Identity, null),
        RuntimePolicy = node.RuntimePolicy,
        BootPolicy = node.BootPolicy,
        Group = node.Group,
        IntervalSeconds = node.IntervalSeconds,
        EnrolledAt = node.EnrolledAt,
        LastVerdictAt = node.Last?.At,
        NextExpectedAt = NodeStates.NextExpectedAt(node),
        Attestations = node.Attestations,
    };

    public static NodeDetails Details(Node node, VerdictRecord? last, Moment moment)
    {
        var area = PublicArea.Parse(node.AttestationKey.Span);
        return new NodeDetails
        {
            Node = Summary(node, moment),
            AttestationKeyName = Convert.ToHexStringLower(node.AttestationKeyName.Span),
            AttestationKeyType = AttestationKey.TypeOf(area),
            EndorsementKeyHash = Convert.ToHexStringLower(node.EndorsementKeyHash.Span),
            Pcrs = node.Pcrs,
            Recovery = node.Recovery ?? Recoveries.Pass,
            LastVerdict = last?.Message,
            LastPassAt = node.LastPassAt,
        };
    }
}

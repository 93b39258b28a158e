using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;
using Keylime.Tpm;

namespace Keylime.Functions.Nodes;

/// <summary>Makes nodes of registrations: the attestation key that was activated is pinned here.</summary>
internal sealed class NodeMaker(ServiceOptions options)
{
    private static readonly Dictionary<string, IReadOnlyList<string>> NoPcrs = [];

    /// <summary>A node that was retired comes back as a new one. Its numbers go on, so that its history stays whole.</summary>
    public Node Make(Registration registration, EnrolNode asked, DateTimeOffset now, Node? former)
    {
        var key = PublicArea.Parse(registration.AttestationKey.Span);
        return new Node
        {
            Id = registration.Id,
            EnrolledAt = now,
            AttestationKey = key.Encode(),
            AttestationKeyName = key.ComputeName(),
            EndorsementKeyHash = registration.EndorsementKeyHash,
            Identity = registration.Identity,
            RuntimePolicy = asked.RuntimePolicy,
            BootPolicy = asked.BootPolicy,
            Pcrs = asked.Pcrs ?? NoPcrs,
            IntervalSeconds = asked.IntervalSeconds ?? (int)options.Interval.TotalSeconds,
            Recovery = Recoveries.Stored(asked.Recovery),
            Group = asked.Group,
            NextAttestation = former?.NextAttestation ?? 0,
            Attestations = former?.Attestations ?? 0,
            Untold = former?.Untold,
        };
    }

    /// <summary>Has the row's own time: however often it is told, it is there once.</summary>
    public static EventRecord Enrolled(Node node) => EventRecord.Of(node.Id, node.EnrolledAt, EventTypes.NodeEnrolled,
        $"Enrolled by {node.AdmittedBy ?? "an operator"} with the attestation key {Convert.ToHexStringLower(node.AttestationKeyName.Span)}.");
}

/// <summary>Names of keys, for people.</summary>
internal static class KeyNames
{
    /// <summary>In hex, of a TPM2B_PUBLIC or a TPMT_PUBLIC.</summary>
    public static string Of(ReadOnlyMemory<byte> area) => Convert.ToHexStringLower(PublicArea.Parse(area.Span).ComputeName());
}

using System.Globalization;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Functions.Verifier;

/// <summary>Attestations as Keylime's v3 API shows them (keylime-wire 2B.3 to 2B.7).</summary>
internal static class Attestations
{
    public const string ResourceType = "attestation";

    public static string Link(AgentId agent, long number) =>
        string.Create(CultureInfo.InvariantCulture, $"/v3.0/agents/{agent}/attestations/{number}");

    /// <summary>An attestation that waits for its evidence.</summary>
    public static Resource<AttestationAttributes> Waiting(Node node, OpenAttestation open) => Resource(node.Id, open.Number, new AttestationAttributes
    {
        Stage = "awaiting_evidence",
        Evaluation = "pending",
        EvidenceRequested = [.. Requested(node, open)],
        SystemInfo = new SystemInfo(open.BootTime),
        CapabilitiesReceivedAt = open.RequestedAt,
        ChallengesExpireAt = open.ExpiresAt,
    });

    /// <summary>An attestation that is judged.</summary>
    public static Resource<AttestationAttributes> Judged(VerdictRecord verdict) => Resource(verdict.Node, verdict.Message.Attestation, new AttestationAttributes
    {
        Stage = "verification_complete",
        Evaluation = verdict.Message.Evaluation,
        FailureReason = verdict.FailureReason,
        Findings = [.. verdict.Message.Findings.Select(f => new AttestationFinding(f.Code, f.Detail))],
        Evidence = [],
        CapabilitiesReceivedAt = verdict.RequestedAt,
        EvidenceReceivedAt = verdict.EvidenceReceivedAt,
        VerificationCompletedAt = verdict.Message.At,
    });

    public static IResult Answer(int status, Resource<AttestationAttributes> resource, DocumentMeta? meta = null) => Hosting.Answer.Json(
        status,
        new Document<AttestationAttributes>(resource)
        {
            Links = resource.Links,
            Meta = meta,
            Jsonapi = JsonApiVersion.Current,
        },
        UpstreamJson.Default.DocumentAttestationAttributes,
        MediaTypes.JsonApi);

    public static Refusal NotFound(AgentId agent, string number) =>
        new(StatusCodes.Status404NotFound, "not_found", $"No attestation {number} exists for agent '{agent}'.");

    private static Resource<AttestationAttributes> Resource(AgentId agent, long number, AttestationAttributes attributes) =>
        new(ResourceType, attributes)
        {
            Id = number.ToString(CultureInfo.InvariantCulture),
            Links = new DocumentLinks { Self = Link(agent, number) },
        };

    private static IEnumerable<EvidenceItem> Requested(Node node, OpenAttestation open)
    {
        var key = PublicArea.Parse(node.AttestationKey.Span);
        yield return new EvidenceItem(EvidenceItem.Certification, EvidenceItem.TpmQuote)
        {
            ChosenParameters = new ChosenParameters
            {
                Challenge = open.Nonce.ToArray(),
                SignatureScheme = open.Scheme.ProtocolName(),
                HashAlgorithm = open.SchemeHash.ProtocolName(),
                SelectedSubjects = new Dictionary<string, IReadOnlyList<int>?> { [open.Bank.ProtocolName()!] = [.. new PcrSet(open.PcrBits)] },
                CertificationKey = new CertificationKey
                {
                    KeyClass = "asymmetric",
                    KeyAlgorithm = key.Type.ProtocolName(),
                    KeySize = key switch
                    {
                        PublicArea.Rsa rsa => rsa.KeyBits,
                        PublicArea.Ecc { Curve: TpmCurve.NistP521 } => 521,
                        PublicArea.Ecc ecc => ecc.Curve.CoordinateSize() * 8,
                        _ => throw new System.Diagnostics.UnreachableException(),
                    },
                    ServerIdentifier = "ak",
                    LocalIdentifier = Convert.ToHexStringLower(node.AttestationKeyName.Span),
                    Public = node.AttestationKey.ToArray(),
                    AllowableHashAlgorithms = [open.SchemeHash.ProtocolName()!],
                    AllowableSignatureSchemes = [open.Scheme.ProtocolName()!],
                },
            },
        };

        if (open.BootLog)
        {
            yield return new EvidenceItem(EvidenceItem.Log, EvidenceItem.UefiLog)
            {
                ChosenParameters = new ChosenParameters { Format = ChosenParameters.OctetStream },
            };
        }

        if (open.Ima is { } ima)
        {
            yield return new EvidenceItem(EvidenceItem.Log, EvidenceItem.ImaLog)
            {
                // Never an entry_count: upstream's agent would leave out the last line feed (keylime-wire 2B.2).
                ChosenParameters = new ChosenParameters
                {
                    StartingOffset = ima.Start?.Entries ?? 0,
                    Format = ima.Format,
                },
            };
        }
    }
}

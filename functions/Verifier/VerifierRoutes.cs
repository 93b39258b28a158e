using Keylime.Functions.Notices;
using Keylime.Functions.Payloads;

namespace Keylime.Functions.Verifier;

/// <summary>Keylime's push verifier API, under both spellings of its version.</summary>
internal static class VerifierRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        foreach (var version in (string[])["/v3", "/v3.0"])
        {
            var group = routes.MapGroup(version);
            OpenSession.Map(group);
            ProveSession.Map(group);
            RequestAttestation.Map(group);
            SubmitEvidence.Map(group);
            GetAttestation.Map(group);
            ListAttestations.Map(group);
            AgentPayloadRoutes.Map(group);
            AgentNotices.Map(group);
        }
    }
}

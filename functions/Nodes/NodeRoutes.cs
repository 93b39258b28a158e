using Keylime.Functions.Access;
using Keylime.Functions.Identity;
using Keylime.Functions.Notices;
using Keylime.Functions.Notifications;
using Keylime.Functions.Payloads;
using Keylime.Functions.Policies;
using Keylime.Functions.Verifier;

namespace Keylime.Functions.Nodes;

/// <summary>Our own API, for operators.</summary>
internal static class NodeRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        EnrolNodes.Map(routes);
        ListNodes.Map(routes);
        GetNode.Map(routes);
        ApproveNode.Map(routes);
        ReactivateNode.Map(routes);
        RetireNode.Map(routes);
        UpdateNodeRoute.Map(routes);
        RecoverNode.Map(routes);
        GetEvidence.Map(routes);
        ListVerdicts.Map(routes);
        ListEvents.Map(routes);
        PutPolicy.Map(routes);
        GetPolicy.Map(routes);
        ListPolicies.Map(routes);
        DeletePolicy.Map(routes);
        ApprovePolicyRoute.Map(routes);
        ListPolicyVersions.Map(routes);
        PolicySignerRoutes.Map(routes);
        PolicyDraftRoutes.Map(routes);
        Tokens.Map(routes);
        TrustRoutes.Map(routes);
        KnownKeyRoutes.Map(routes);
        EnrolmentRuleRoutes.Map(routes);
        WebhookRoutes.Map(routes);
        WebhookActionRoutes.Map(routes);
        DeliveryRoutes.Map(routes);
        PayloadServices.Map(routes);
        NoticeRoutes.Map(routes);
        Sweep.Map(routes);
        Retention.Map(routes);
        DeliveryRepair.Map(routes);
        DeliveryTriggers.Map(routes);
    }
}

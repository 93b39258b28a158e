using Keylime.Functions.Policies;

namespace Keylime.Functions.Nodes;

/// <summary>Our own API, for operators.</summary>
internal static class NodeRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        EnrolNodes.Map(routes);
        ListNodes.Map(routes);
        GetNode.Map(routes);
        RetireNode.Map(routes);
        ListVerdicts.Map(routes);
        ListEvents.Map(routes);
        PutPolicy.Map(routes);
        GetPolicy.Map(routes);
        ListPolicies.Map(routes);
        DeletePolicy.Map(routes);
    }
}

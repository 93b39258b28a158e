namespace Keylime.Functions.Registrar;

/// <summary>Keylime's registrar API under every version of it that agents ask for; they are all alike.</summary>
internal static class RegistrarRoutes
{
    private static readonly string[] Versions = ["/v2", "/v2.0", "/v2.1", "/v2.2", "/v2.3", "/v2.4", "/v2.5", "/v2.6"];

    public static void Map(IEndpointRouteBuilder routes)
    {
        foreach (var version in Versions)
        {
            var group = routes.MapGroup(version);
            RegisterAgent.Map(group);
            ActivateAgent.Map(group);
            ListRegistrations.Map(group);
            GetRegistration.Map(group);
            DeleteRegistration.Map(group);
        }
    }
}

namespace Keylime.Functions.Payloads;

/// <summary>All that payloads are made of.</summary>
internal static class PayloadServices
{
    public static void AddPayloads(this IServiceCollection services)
    {
        services.AddSingleton<PayloadCatalog>();
        services.AddSingleton<ReleaseLedger>();
        services.AddSingleton<ReleasePayload.Dependencies>();
        services.AddSingleton<PayloadRoutes.Dependencies>();
        services.AddSingleton<LedgerRoutes.Dependencies>();
    }

    public static void Map(IEndpointRouteBuilder routes)
    {
        PayloadRoutes.Map(routes);
        LedgerRoutes.Map(routes);
        VaultRoutes.Map(routes);
    }
}

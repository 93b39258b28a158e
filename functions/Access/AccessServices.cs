using Keylime.Functions.Hosting;

namespace Keylime.Functions.Access;

/// <summary>Whose tokens are taken.</summary>
internal static class AccessServices
{
    public static void AddAccess(this IServiceCollection services, ServiceOptions options)
    {
        services.AddSingleton<Credentials>();
        services.AddSingleton<EntraTokens>();
        if (EntraIssuer.Of(options) is not { } issuer)
            return;
        services.AddSingleton(issuer);
        services.AddSingleton(new EntraHttp(options.EntraAuthority));
        services.AddSingleton(static provider => new EntraKeys(
            provider.GetRequiredService<EntraIssuer>(), provider.GetRequiredService<EntraHttp>(), provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<EntraKeys>>()));
    }
}

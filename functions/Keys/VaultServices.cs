using Azure.Core;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys.Azure;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Keys;

/// <summary>The vault that the options ask for.</summary>
internal static class VaultServices
{
    public static void AddVault(this IServiceCollection services, ServiceOptions options) => services.AddSingleton<IVault>(provider =>
    {
        var clock = provider.GetRequiredService<TimeProvider>();
        return new WatchedVault(options.KeyVault is { } url
            ? new KeyVault(url, options.WrapKey, options.SignKey, provider.GetRequiredService<TokenCredential>(), clock)
            : new LocalVault(Path.Combine(options.Data, "keys", "vault"), clock), provider.GetRequiredService<Instruments>());
    });
}

using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Payloads;

/// <summary><c>/v1/vault/…</c>: the key that keys of payloads are wrapped for.</summary>
internal static class VaultRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/vault/key", GetAsync).Under(
            new(Caller.Readers, ApiFamily.Own), new("The public half of the vault's key that wraps keys of payloads.", null, ApiJson.Default.VaultKeyMessage));
        routes.MapPost("/v1/vault/rotate", RotateAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Make another version of the vault's key; what the former ones wrapped still opens.", null, ApiJson.Default.VaultKeyMessage));
    }

    private static async Task<IResult> GetAsync(IVault vault, CancellationToken cancel) => Write(await vault.WrappingKeyAsync(cancel));

    private static async Task<IResult> RotateAsync(HttpContext context, IVault vault, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        var key = await vault.RotateWrappingKeyAsync(cancel);
        await events.AddAsync(
            EventRecord.Of(EventRecord.Service, clock.GetUtcNow(), EventTypes.VaultKeyRotated, $"The vault's key has the version '{key.Version}' now, by {context.CallerName()}.", key.Version),
            CancellationToken.None);
        return Write(key);
    }

    private static Answer<VaultKeyMessage> Write(VaultKey key) =>
        Answer.Json(StatusCodes.Status200OK, new VaultKeyMessage(key.Version, key.PublicKey.ToArray()), ApiJson.Default.VaultKeyMessage);
}

using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Notices;

/// <summary><c>GET /v1/notices</c>: what machines are told of each other; <c>…/key</c>: who signs it.</summary>
internal static class NoticeRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Readers, ApiFamily.Own);
        routes.MapGet("/v1/notices", ListAsync).Under(rules, new("What machines are told of each other, newest first.", null, ApiJson.Default.NoticeList) { Query = QueryParameters.Pages });
        routes.MapGet("/v1/notices/key", KeyAsync).Under(rules, new("The public half of the key that signs notices: P-256.", null, ApiJson.Default.VaultKeyMessage));
    }

    private static async Task<IResult> ListAsync(HttpContext context, IRecordStore<NoticeRecord> notices, CancellationToken cancel)
    {
        if (!Paging.TryRead(context.Request.Query["after"], context.Request.Query["limit"], out var start, out var count, out var refusal))
            return refusal;
        var page = await notices.ListOfAsync(NoticeRecord.KeyPrefix, start, count, cancel);
        return Answer.Json(
            StatusCodes.Status200OK, new NoticeList([.. page.Items.Select(static n => new PostedNotice(n.Notice, n.Signed is not null))]) { Next = page.Next?.ToString() }, ApiJson.Default.NoticeList);
    }

    private static async Task<IResult> KeyAsync(IVault vault, CancellationToken cancel)
    {
        var key = await vault.SigningKeyAsync(cancel);
        return Answer.Json(StatusCodes.Status200OK, new VaultKeyMessage(key.Version, key.PublicKey.ToArray()), ApiJson.Default.VaultKeyMessage);
    }
}

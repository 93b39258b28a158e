using System.Globalization;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Payloads;
using Microsoft.AspNetCore.Http.Features;
using Payload = Keylime.Functions.Storage.Payload;

namespace Keylime.Functions.Payloads;

/// <summary>What an agent asks of payloads: which there are for it, their ciphertext, and to say what became of them. See <see cref="ReleasePayload"/> for the keys.</summary>
internal static class AgentPayloadRoutes
{
    private const int MaxDetail = 512;
    private const int MaxRelease = 64;

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Agent, ApiFamily.Attestations);
        routes.MapGet("/agents/{id}/payloads", OffersAsync).Under(rules, new("The payloads that are meant for this machine.", null, PayloadJson.Default.PayloadOffers));
        routes.MapGet("/agents/{id}/payloads/{name}/versions/{version}/parts/{number}", PartAsync).Under(
            rules, new("A part of a payload's ciphertext, from 0.") { RawAnswer = MediaTypes.OctetStream });
        routes.MapPost("/agents/{id}/payloads/{name}/report", ReportAsync).Under(
            rules, new("Say what became of a payload.", PayloadJson.Default.PayloadReport, Status: StatusCodes.Status204NoContent));
        ReleasePayload.Map(routes);
    }

    private static async Task<IResult> OffersAsync(AgentId id, HttpContext context, PayloadCatalog catalog, CancellationToken cancel)
    {
        var payloads = catalog.For(context.Features.GetRequiredFeature<Stored<Node>>().Value, await catalog.AllAsync(cancel));
        return Answer.Json(StatusCodes.Status200OK, new PayloadOffers([.. payloads.Select(static p => new PayloadOffer(p.Name, p.Version, p.Size))]), PayloadJson.Default.PayloadOffers);
    }

    private static async Task<IResult> PartAsync(
        AgentId id, string name, string version, string number, HttpContext context, IRecordStore<Payload> payloads, IBlobStore blobs, TimeProvider clock, CancellationToken cancel)
    {
        var node = context.Features.GetRequiredFeature<Stored<Node>>().Value;
        if (await ReleasePayload.FindAsync(payloads, name, node, cancel) is not { } payload || !payload.IsLive(clock.GetUtcNow()))
            return ReleasePayload.NotFound();
        if (version != payload.Version.ToString(CultureInfo.InvariantCulture))
            return new Refusal(StatusCodes.Status409Conflict, "other_version", $"'{name}' is there in version {payload.Version}, and not in that one.");
        if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var part) || part >= payload.Parts.Count)
            return new Refusal(StatusCodes.Status404NotFound, "no_such_part", $"'{name}' has {payload.Parts.Count} parts, from 0.");
        return await blobs.FindAsync(payload.Parts[part].Digest, cancel) is { } bytes
            ? TypedResults.Bytes(bytes, MediaTypes.OctetStream)
            : throw new StorageUnavailableException($"Part {part} of '{name}' is not in the store.");
    }

    private static async Task<IResult> ReportAsync(AgentId id, string name, HttpContext context, ReleaseLedger ledger, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, PayloadJson.Default.PayloadReport, cancel)).TryGet(out var report, out var unread))
            return unread;
        if (!PayloadName.IsValid(name))
            return ReleasePayload.NotFound();
        if (report.Detail is { Length: > MaxDetail })
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_request", $"{MaxDetail} characters at most are expected.") { Pointer = "/detail" };
        if (report.Release is { } number && (number.Length > MaxRelease || !number.All(static c => char.IsAsciiLetterOrDigit(c) || c == '-')))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "The number of a release is expected, as it was told.") { Pointer = "/release" };

        // A machine that failed says so too: nothing is decided by it.
        var node = context.Features.GetRequiredFeature<Stored<Node>>().Value;
        return await ledger.ReportAsync(name, node, report, cancel)
            ? TypedResults.NoContent()
            : new Refusal(StatusCodes.Status404NotFound, "no_such_release", "There is no such release to this machine.");
    }
}

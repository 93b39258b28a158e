using System.Security.Cryptography;
using System.Text.Json;
using Keylime.Functions.Hosting;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Protocol.Payloads;
using Payload = Keylime.Functions.Storage.Payload;

namespace Keylime.Functions.Payloads;

/// <summary><c>/v1/payloads</c>, <c>/v1/payload-parts</c>: secrets for machines, put by operators.</summary>
internal static class PayloadRoutes
{
    private const int MaxTries = 5;
    private const int MaxNodes = 1000;
    private const int MaxAge = 86_400;

    public static void Map(IEndpointRouteBuilder routes)
    {
        var reading = new RouteRules(Caller.Readers, ApiFamily.Own);
        routes.MapPut("/v1/payload-parts/{digest}", PutPartAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.PayloadPartBody),
            new("Put a part of a payload's ciphertext, under its SHA-256.", Status: StatusCodes.Status204NoContent) { RawRequest = [MediaTypes.OctetStream] });
        routes.MapPut("/v1/payloads/{name}", PutAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.PayloadBody), new("Put a payload, or another version of one.", ApiJson.Default.PutPayload, ApiJson.Default.PayloadMessage));
        routes.MapPut("/v1/payloads/{name}/shares/{id}", PutShareAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.NodeBody),
            new("Put the part of a split payload's key that is sealed to a node.", ApiJson.Default.SealedKey, Status: StatusCodes.Status204NoContent));
        routes.MapGet("/v1/payloads", ListAsync).Under(reading, new("All payloads, without their keys.", null, ApiJson.Default.PayloadList));
        routes.MapGet("/v1/payloads/{name}", GetAsync).Under(reading, new("A payload, without its key.", null, ApiJson.Default.PayloadMessage));
        routes.MapPost("/v1/payloads/{name}/revoke", RevokeAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Take a payload away: its key is deleted, and agents wipe it.", null, ApiJson.Default.PayloadMessage));
    }

    /// <summary>What the handlers work with.</summary>
    internal sealed record Dependencies(
        IRecordStore<Payload> Store, IRecordStore<PayloadShare> Shares, PayloadCatalog Catalog, INodeStore Nodes, IBlobStore Blobs, IEventStore Events, TimeProvider Clock);

    private static async Task<IResult> PutPartAsync(string digest, HttpContext context, IBlobStore blobs, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadBytesAsync(context, cancel)).TryGet(out var bytes, out var unread))
            return unread;
        if (bytes.IsEmpty)
            return Bad("The part is empty.");
        var seen = Convert.ToHexStringLower(SHA256.HashData(bytes.Span));
        if (seen != digest)
            return Bad($"digest: the part's SHA-256 is {seen}, and another one is in the path.");
        await blobs.PutAsync(bytes, cancel);
        return TypedResults.NoContent();
    }

    private static async Task<IResult> PutAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!PayloadName.IsValid(name))
            return Bad($"name: {PayloadName.Expected}");
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.PutPayload, cancel)).TryGet(out var asked, out var unread))
            return unread;
        if (Objection(asked, use.Clock.GetUtcNow()) is { } objection)
            return Bad(objection);
        foreach (var part in asked.Parts)
        {
            if (await use.Blobs.FindAsync(part.Digest, cancel) is not { } there)
                return Bad($"parts: {part.Digest} is not there: put it first (PUT /v1/payload-parts/{part.Digest}).");
            if (there.Length != part.Size)
                return Bad($"parts: {part.Digest} has {there.Length} bytes, and not {part.Size}.");
        }

        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await use.Store.FindAsync(name, cancel);
            if (stored is { Value: { RevokedAt: null } known } && Same(asked, known))
            {
                await TellAsync(use, known); // asked twice, and a crash may have left it untold
                return Write(known);
            }

            if (stored is not null)
                await TellAsync(use, stored.Value); // the row will not remember it
            var next = new Payload
            {
                Name = name,
                Version = (stored?.Value.Version ?? 0) + 1,
                Size = asked.Size,
                Parts = asked.Parts,
                KeyVersion = asked.KeyVersion,
                WrappedKey = asked.WrappedKey,
                For = asked.For,
                Terms = asked.Terms,
                Split = asked.Split,
                CreatedAt = use.Clock.GetUtcNow(),
                CreatedBy = context.CallerName(),
            };
            if (!(stored is null ? await use.Store.TryAddAsync(next, cancel) : await use.Store.TryReplaceAsync(stored, next, cancel)))
                continue;
            use.Catalog.Forget();
            await TellAsync(use, next);
            return Write(next);
        }

        return Conflict();
    }

    private static async Task<IResult> PutShareAsync(string name, AgentId id, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.SealedKey, cancel)).TryGet(out var share, out var unread))
            return unread;
        if (await FindAsync(use.Store, name, cancel) is not { Value: { RevokedAt: null } payload })
            return NotFound();
        if (!payload.Split)
            return Bad($"'{name}' is not split: all of its key is in the vault.");
        if (await use.Nodes.FindAsync(id, cancel) is not { Value: var node } || !Audience.Has(payload.For, node))
            return Bad($"id: '{name}' is not meant for '{id}'.");
        var next = new PayloadShare
        {
            Payload = name,
            Version = payload.Version,
            Node = id,
            EndorsementKeyHash = Convert.ToHexStringLower(node.EndorsementKeyHash.Span),
            Sealed = share,
        };
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await use.Shares.FindAsync(next.Key, cancel);
            if (stored is null ? await use.Shares.TryAddAsync(next, cancel) : await use.Shares.TryReplaceAsync(stored, next, cancel))
                return TypedResults.NoContent();
        }

        return Conflict();
    }

    private static async Task<IResult> ListAsync(IRecordStore<Payload> store, CancellationToken cancel) =>
        Answer.Json(StatusCodes.Status200OK, new PayloadList([.. (await store.AllAsync(cancel)).Select(static p => p.Message)]), ApiJson.Default.PayloadList);

    private static async Task<IResult> GetAsync(string name, IRecordStore<Payload> store, CancellationToken cancel) =>
        await FindAsync(store, name, cancel) is { Value: var payload } ? Write(payload) : NotFound();

    private static async Task<IResult> RevokeAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await FindAsync(use.Store, name, cancel) is not { } stored)
                return NotFound();
            await TellAsync(use, stored.Value);
            if (stored.Value.RevokedAt is not null)
                return Write(stored.Value);
            var next = stored.Value with { RevokedAt = use.Clock.GetUtcNow(), RevokedBy = context.CallerName(), WrappedKey = default };
            if (!await use.Store.TryReplaceAsync(stored, next, cancel))
                continue;
            use.Catalog.Forget();
            await TellAsync(use, next);
            return Write(next);
        }

        return Conflict();
    }

    // What was done last stands in the row: the same event, however often it is told.
    private static Task TellAsync(Dependencies use, Payload payload) => use.Events.AddAsync(
        payload is { RevokedAt: { } at, RevokedBy: var by }
            ? EventRecord.OfPayload(payload.Name, at, EventTypes.PayloadRevoked, $"'{payload.Name}', version {payload.Version}, was revoked by {by}; its key is deleted.", payload.Version)
            : EventRecord.OfPayload(payload.Name, payload.CreatedAt, EventTypes.PayloadChanged, $"'{payload.Name}', version {payload.Version}, was put by {payload.CreatedBy}: {payload.Size} bytes.", payload.Version),
        CancellationToken.None);

    private static bool Same(PutPayload asked, Payload known) => Text(asked).AsSpan().SequenceEqual(
        Text(new PutPayload(known.Size, known.Parts, known.KeyVersion, known.WrappedKey.ToArray(), known.For) { Terms = known.Terms, Split = known.Split }));

    private static byte[] Text(PutPayload payload) => JsonSerializer.SerializeToUtf8Bytes(payload, ApiJson.Default.PutPayload);

    private static string? Objection(PutPayload asked, DateTimeOffset now)
    {
        var ciphertext = PayloadCipher.SealedLength(asked.Size < 0 ? 0 : asked.Size);
        return asked switch
        {
            { Size: < 0 or > PayloadParts.MaxPlain } => $"size: {asked.Size} is not from 0 to {PayloadParts.MaxPlain} bytes.",
            _ when asked.Parts.Count != (ciphertext + PayloadParts.Size - 1) / PayloadParts.Size =>
                $"parts: {asked.Parts.Count} of them, where {asked.Size} bytes of content make {(ciphertext + PayloadParts.Size - 1) / PayloadParts.Size}.",
            _ when asked.Parts.Index().FirstOrDefault(p => p.Item.Size != Math.Min(PayloadParts.Size, ciphertext - (long)p.Index * PayloadParts.Size)) is { Item: { } odd } =>
                $"parts: {odd.Digest} has {odd.Size} bytes; all have {PayloadParts.Size} but for the last.",
            _ when asked.Parts.FirstOrDefault(static p => !IsDigest(p.Digest)) is not null => "parts: a digest is a SHA-256 in lower-case hex.",
            { WrappedKey.Length: < 256 or > 512 } => $"wrappedKey: {asked.WrappedKey.Length} bytes are none that RSA-OAEP makes under a key of 2048 to 4096 bits.",
            { KeyVersion.Length: 0 or > 64 } => "keyVersion: the version of the vault's key is expected (GET /v1/vault/key).",
            _ => AudienceObjection(asked.For) ?? TermsObjection(asked.Terms, now),
        };
    }

    private static string? AudienceObjection(PayloadAudience audience) => audience switch
    {
        { Nodes: null, Group: null, Policy: null } => "for: nodes, a group or a policy is expected. Nothing means nobody.",
        { Nodes.Count: 0 or > MaxNodes } => $"for.nodes: 1 to {MaxNodes} ids are expected; a group holds more.",
        { Group: { } group } when !AgentId.TryParse(group, null, out _) => "for.group: 1 to 80 of A-Z a-z 0-9 _ . - are expected.",
        { Policy: { } policy } when !PolicyNames.IsValid(policy) => $"for.policy: {PolicyNames.Expected}",
        _ => null,
    };

    private static string? TermsObjection(PayloadTerms terms, DateTimeOffset now) => terms switch
    {
        _ when terms.Require.FirstOrDefault(static r => r is not (PayloadTerms.Identity or PayloadTerms.Boot or PayloadTerms.Runtime)) is { } unknown =>
            $"terms.require: '{(unknown.Length <= 40 ? unknown : unknown[..40])}' is none of identity, boot and runtime.",
        { Require.Count: 0 } => "terms.require: at least one of identity, boot and runtime is expected.",
        { MaxAgeSeconds: < 1 or > MaxAge } => $"terms.maxAgeSeconds: {terms.MaxAgeSeconds} is not from 1 to {MaxAge}.",
        { Pcrs.Count: 0 } => "terms.pcrs: at least one PCR is expected: what nothing guards is not released.",
        _ when terms.Pcrs.Any(static p => p is < 0 or > 23) || terms.Pcrs.Distinct().Count() != terms.Pcrs.Count => "terms.pcrs: numbers from 0 to 23, each once, are expected.",
        { ExpiresAt: { } end } when end <= now => $"terms.expiresAt: {end:u} is over.",
        _ => null,
    };

    private static bool IsDigest(string text) => text.Length == SHA256.HashSizeInBytes * 2 && text.All(char.IsAsciiHexDigitLower);

    private static Answer<PayloadMessage> Write(Payload payload) => Answer.Json(StatusCodes.Status200OK, payload.Message, ApiJson.Default.PayloadMessage);

    /// <returns><see langword="null"/> too where it is no name at all.</returns>
    public static async Task<Stored<Payload>?> FindAsync(IRecordStore<Payload> store, string name, CancellationToken cancel) =>
        PayloadName.IsValid(name) ? await store.FindAsync(name, cancel) : null;

    public static Refusal NotFound() => new(StatusCodes.Status404NotFound, "no_such_payload", "There is no payload of that name.")
    { Hint = "keylime payload list (GET /v1/payloads) tells which there are." };

    private static Refusal Conflict() => new(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this payload at this moment; try again.");

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_payload", detail);
}

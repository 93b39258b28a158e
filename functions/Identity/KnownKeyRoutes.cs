using System.Security.Cryptography;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Identity;

/// <summary><c>/v1/known-keys</c>: the operator's own list of endorsement keys.</summary>
internal static class KnownKeyRoutes
{
    private const int MaxAtOnce = 10_000;
    private const int MaxNote = 200;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/known-keys", ImportAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.KnownKeysBody), new("Put endorsement keys on the list.", ApiJson.Default.ImportKnownKeys, ApiJson.Default.ImportedKnownKeys));
        routes.MapGet("/v1/known-keys", ListAsync).Under(new(Caller.Readers, ApiFamily.Own), new("The list of endorsement keys.", null, ApiJson.Default.KnownKeyList) { Query = QueryParameters.Pages });
        routes.MapDelete("/v1/known-keys/{hash}", RemoveAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Take an endorsement key from the list.", Status: StatusCodes.Status204NoContent));
    }

    private static async Task<IResult> ImportAsync(
        HttpContext context, IRecordStore<KnownEndorsementKey> store, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.ImportKnownKeys, cancel)).TryGet(out var asked, out var unread))
            return unread;
        if (asked.Keys.Count is 0 or > MaxAtOnce)
            return Bad($"keys: {asked.Keys.Count} keys; 1 to {MaxAtOnce} at once are expected.");
        for (var i = 0; i < asked.Keys.Count; i++) // all of them before any of them: half an import is none
        {
            if (Objection(asked.Keys[i]) is { } objection)
                return Bad($"keys[{i}].{objection}");
        }

        var now = clock.GetUtcNow();
        var (added, replaced, unchanged, told) = (0, 0, 0, false);
        foreach (var key in asked.Keys)
        {
            var record = new KnownEndorsementKey { EndorsementKeyHash = key.Hash.ToLowerInvariant(), Agent = key.Agent, Note = key.Note, AddedAt = now };
            while (true)
            {
                var stored = await store.FindAsync(record.EndorsementKeyHash, cancel);
                if (stored is { Value: var known } && known.Agent == record.Agent && known.Note == record.Note)
                {
                    unchanged++;
                    break;
                }

                // Told before the first of them: whoever repeats a half import finds that half unchanged, and the list would have grown in silence.
                if (!told)
                    await events.AddAsync(EventRecord.Of(EventRecord.Service, now, EventTypes.RuleChanged, $"{context.CallerName()} puts endorsement keys on the list: {asked.Keys.Count} in one import, {record.EndorsementKeyHash} the first that is new.", "known-keys"), cancel);
                told = true;
                if (stored is null && await store.TryAddAsync(record, cancel))
                    added++;
                else if (stored is not null && await store.TryReplaceAsync(stored, record, cancel))
                    replaced++;
                else
                    continue;
                break;
            }
        }

        return Answer.Json(StatusCodes.Status200OK, new ImportedKnownKeys(added, replaced, unchanged), ApiJson.Default.ImportedKnownKeys);
    }

    private static async Task<IResult> ListAsync(string? after, string? limit, IRecordStore<KnownEndorsementKey> store, CancellationToken cancel)
    {
        if (!Paging.TryRead(after, limit, out var start, out var count, out var refusal))
            return refusal;
        var page = await store.ListAsync(start, count, cancel);
        return Answer.Json(StatusCodes.Status200OK,
            new KnownKeyList([.. page.Items.Select(static k => new KnownKey(k.EndorsementKeyHash) { Agent = k.Agent, Note = k.Note })]) { Next = page.Next?.ToString() },
            ApiJson.Default.KnownKeyList);
    }

    private static async Task<IResult> RemoveAsync(
        string hash, HttpContext context, IRecordStore<KnownEndorsementKey> store, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        while (IsHash(hash) && await store.FindAsync(hash.ToLowerInvariant(), cancel) is { } stored)
        {
            await events.AddAsync(EventRecord.Of(EventRecord.Service, clock.GetUtcNow(), EventTypes.RuleChanged, $"{context.CallerName()} takes the endorsement key {stored.Value.EndorsementKeyHash} from the list.", stored.Value.EndorsementKeyHash), cancel);
            if (await store.TryDeleteAsync(stored, cancel))
                return TypedResults.NoContent();
        }

        return new Refusal(StatusCodes.Status404NotFound, "no_such_key", "No endorsement key of that SHA-256 is on the list.") { Hint = "keylime ek list (GET /v1/known-keys) tells which there are." };
    }

    private static string? Objection(KnownKey key) => key switch
    {
        null => "hash: is missing.",
        _ when !IsHash(key.Hash) => "hash: the SHA-256 of a SubjectPublicKeyInfo in 64 hex digits is expected.",
        { Agent: { } agent } when !AgentId.TryParse(agent, null, out _) => "agent: no agent id: 1 to 80 of A-Z a-z 0-9 _ . - are expected.",
        { Note.Length: > MaxNote } => $"note: {MaxNote} characters at most are expected.",
        _ => null,
    };

    private static bool IsHash(string? text) => text?.Length == SHA256.HashSizeInBytes * 2 && text.All(char.IsAsciiHexDigit);

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_known_keys", detail);
}

using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Access;

/// <summary><c>/v1/tokens</c>: who may administer, approve and read. To renew a token is to make another and revoke the first.</summary>
internal static class Tokens
{
    private const int DefaultDays = 90;
    private const int MaxDays = 3650;

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Operator, ApiFamily.Own);
        routes.MapPost("/v1/tokens", CreateAsync).Under(rules, new("Make a token; the only time that it is told.", ApiJson.Default.CreateToken, ApiJson.Default.CreatedToken, StatusCodes.Status201Created));
        routes.MapGet("/v1/tokens", ListAsync).Under(rules with { Callers = Caller.Operator | Caller.Auditor }, new("All tokens, without their secrets.", null, ApiJson.Default.TokenList));
        routes.MapDelete("/v1/tokens/{name}", RevokeAsync).Under(rules, new("Revoke a token, at once.", Status: StatusCodes.Status204NoContent));
    }

    private static async Task<IResult> CreateAsync(HttpContext context, AccessTokens tokens, IRecordStore<AccessToken> store, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.CreateToken, cancel)).TryGet(out var asked, out var unread))
            return unread;
        if (!AgentId.TryParse(asked.Name, null, out _))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", "name: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");
        if (JwtForm.IsLike(asked.Name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", "name: tokens of Entra ID begin with 'eyJ', and no other may.");
        if (asked.Group is { } group && !AgentId.TryParse(group, null, out _))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_group", "group: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");
        if (asked.Days is < 1 or > MaxDays)
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_days", $"days: {asked.Days} is not from 1 to {MaxDays}.");

        var now = clock.GetUtcNow();
        var expires = now.AddDays(asked.Days ?? DefaultDays);
        if (await store.FindAsync(asked.Name, cancel) is not null)
            return Taken(asked.Name);

        // Told first: there is never a token that nobody was told of. Who lost the answer has lost the token: it is revoked, and another one made.
        await events.AddAsync(EventRecord.Of(EventRecord.Service, now, EventTypes.TokenCreated,
            $"{context.CallerName()} makes the token '{asked.Name}' of the role {AccessTokens.NameOf(asked.Role)}{(asked.Group is null ? "" : $" of the group '{asked.Group}'")}, until {expires:u}.", asked.Name), cancel);
        if (await tokens.TryCreateAsync(asked.Name, asked.Role, asked.Group, expires, cancel) is not { } token)
            return Taken(asked.Name);
        return Answer.Json(StatusCodes.Status201Created, new CreatedToken(asked.Name, asked.Role, token, expires) { Group = asked.Group }, ApiJson.Default.CreatedToken);
    }

    private static Refusal Taken(string name) =>
        new(StatusCodes.Status409Conflict, "name_taken", $"There is a token '{name}' already.") { Hint = "Revoke it first, or take another name." };

    private static async Task<IResult> ListAsync(IRecordStore<AccessToken> store, CancellationToken cancel) => Answer.Json(
        StatusCodes.Status200OK,
        new TokenList([.. (await store.AllAsync(cancel)).Select(static t => new TokenSummary(t.Name, t.Role, t.CreatedAt) { ExpiresAt = t.ExpiresAt, Group = t.Group })]),
        ApiJson.Default.TokenList);

    private static async Task<IResult> RevokeAsync(
        string name, HttpContext context, IRecordStore<AccessToken> store, AccessTokens tokens, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        while (AgentId.TryParse(name, null, out _) && await store.FindAsync(name, cancel) is { } stored)
        {
            if (context.Features.Get<Grant>()?.Token == name)
                return new Refusal(StatusCodes.Status409Conflict, "own_token", "A token does not revoke itself.") { Hint = "Use another token of the role operator." };

            if (stored.Value.ExpiresAt <= clock.GetUtcNow() && AccessTokens.IsFirst(name))
                return TypedResults.NoContent(); // revoked before: its row stays

            // Told first: once the row has gone, nothing would remember it.
            await events.AddAsync(EventRecord.Of(EventRecord.Service, clock.GetUtcNow(), EventTypes.TokenRevoked, $"{context.CallerName()} revokes the token '{name}'.", name), cancel);
            if (await tokens.TryRevokeAsync(stored, cancel))
                return TypedResults.NoContent();
        }

        return new Refusal(StatusCodes.Status404NotFound, "no_such_token", "There is no token of that name.") { Hint = "keylime token list (GET /v1/tokens) tells which there are." };
    }
}

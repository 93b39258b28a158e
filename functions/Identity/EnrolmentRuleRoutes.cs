using System.Text.Json;
using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Nodes;
using Keylime.Functions.Notifications;
using Keylime.Functions.Registrar;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Identity;

/// <summary><c>/v1/enrolment-rules</c>: who is admitted without an operator's hand.</summary>
internal static class EnrolmentRuleRoutes
{
    private const int MaxTries = 3;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPut("/v1/enrolment-rules/{name}", PutAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.NodeBody), new("Put an enrolment rule.", ApiJson.Default.EnrolmentRuleMessage, ApiJson.Default.NamedEnrolmentRule));
        routes.MapGet("/v1/enrolment-rules", ListAsync).Under(new(Caller.Readers, ApiFamily.Own), new("All enrolment rules, without their secrets.", null, ApiJson.Default.EnrolmentRuleList));
        routes.MapDelete("/v1/enrolment-rules/{name}", DeleteAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Delete an enrolment rule. Nodes that it admitted stay.", Status: StatusCodes.Status204NoContent));
    }

    /// <summary>What the handlers work with.</summary>
    internal sealed record Dependencies(
        IRecordStore<EnrolmentRule> Rules, IRecordStore<PolicyRecord> Policies, IKeyRing Keys, IEventStore Events, ServiceOptions Options, TimeProvider Clock);

    private static async Task<IResult> PutAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!AgentId.TryParse(name, null, out _))
            return Bad("name: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.EnrolmentRuleMessage, cancel)).TryGet(out var rule, out var unread))
            return unread;
        if (Objection(rule, use.Options) is { } objection)
            return Bad(objection);
        if (rule.Node is { } enrol && await EnrolNodes.ObjectionAsync(enrol, "node.", use.Policies, CallerScope.All, cancel) is { } node)
            return node;

        byte[]? secret = null;
        if (rule.Kind == EnrolmentRuleKind.Webhook && !StandardWebhooks.TryReadSecret(rule.Secret, out secret))
            return Bad($"secret: {StandardWebhooks.ExpectedSecret}");

        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await use.Rules.FindAsync(name, cancel);
            var kept = rule with { Secret = null };

            // Put again without a secret, a webhook keeps the one that it has.
            var made = secret is null && stored?.Value.SealedSecret.IsEmpty != false && rule.Kind == EnrolmentRuleKind.Webhook ? StandardWebhooks.MakeSecret() : null;
            var record = new EnrolmentRule
            {
                Name = name,
                Rule = kept,
                SealedSecret = rule.Kind != EnrolmentRuleKind.Webhook ? default
                    : (secret ?? made) is { } plain ? use.Keys.Seal(EnrolmentRules.SecretPurpose, plain) : stored!.Value.SealedSecret,
                UpdatedAt = use.Clock.GetUtcNow(),
            };
            if (stored is not null)
                await TellAsync(stored.Value.UpdatedAt, Same(stored.Value.Rule, kept) ? context.CallerName() : "somebody"); // what a crash may have left out: once replaced, nothing would remember it
            if (secret is null && made is null && stored is not null && Same(stored.Value.Rule, kept))
                record = stored.Value; // nothing changes, and what a crash left out is told
            else if (!(stored is null ? await use.Rules.TryAddAsync(record, cancel) : await use.Rules.TryReplaceAsync(stored, record, cancel)))
                continue;

            await TellAsync(record.UpdatedAt, context.CallerName());
            var told = made is null ? kept : kept with { Secret = StandardWebhooks.WriteSecret(made) };
            return Answer.Json(StatusCodes.Status200OK, new NamedEnrolmentRule(name, told, record.UpdatedAt), ApiJson.Default.NamedEnrolmentRule);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this rule at this moment; try again.");

        Task TellAsync(DateTimeOffset at, string who) =>
            use.Events.AddAsync(EventRecord.Of(EventRecord.Service, at, EventTypes.RuleChanged, $"The enrolment rule '{name}' was put by {who}.", name), CancellationToken.None);
    }

    private static async Task<IResult> ListAsync(IRecordStore<EnrolmentRule> rules, CancellationToken cancel) => Answer.Json(
        StatusCodes.Status200OK,
        new EnrolmentRuleList([.. (await rules.AllAsync(cancel)).Select(static r => new NamedEnrolmentRule(r.Name, r.Rule, r.UpdatedAt))]),
        ApiJson.Default.EnrolmentRuleList);

    private static async Task<IResult> DeleteAsync(string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        while (AgentId.TryParse(name, null, out _) && await use.Rules.FindAsync(name, cancel) is { } stored)
        {
            await use.Events.AddAsync(EventRecord.Of(EventRecord.Service, use.Clock.GetUtcNow(), EventTypes.RuleChanged, $"The enrolment rule '{name}' is deleted by {context.CallerName()}.", name), cancel);
            if (await use.Rules.TryDeleteAsync(stored, cancel))
                return TypedResults.NoContent();
        }

        return new Refusal(StatusCodes.Status404NotFound, "no_such_rule", "There is no enrolment rule of that name.") { Hint = "keylime rule list (GET /v1/enrolment-rules) tells which there are." };
    }

    // A rule that asks for nothing would admit everybody: it is none.
    private static string? Objection(EnrolmentRuleMessage rule, ServiceOptions options) => rule switch
    {
        { Kind: not EnrolmentRuleKind.Certificate } and ({ Issuer: not null } or { Manufacturer: not null } or { Model: not null } or { Version: not null }) => "issuer, manufacturer, model and version belong to the kind 'certificate'.",
        { Kind: EnrolmentRuleKind.Certificate, Issuer: null or "", Manufacturer: null or "" } => "issuer or manufacturer: one of them is expected, or the rule would admit every TPM.",
        { Kind: not EnrolmentRuleKind.Webhook } and ({ Url: not null } or { Secret: not null } or { TimeoutSeconds: not null }) => "url, secret and timeoutSeconds belong to the kind 'webhook'.",
        { Kind: EnrolmentRuleKind.Webhook, Url: null } => "url: is expected.",
        { Kind: EnrolmentRuleKind.Webhook, Url: { } url } when !Outbound.MayBeKept(url, options) =>
            "url: an https URL without a user's name is expected.",
        { TimeoutSeconds: < 1 or > 10 } => $"timeoutSeconds: {rule.TimeoutSeconds} is not from 1 to 10.",
        { Node.AttestationKeyName: not null } => "node.attestationKeyName: a rule is for many nodes.",
        _ => null,
    };

    private static bool Same(EnrolmentRuleMessage one, EnrolmentRuleMessage other) =>
        JsonSerializer.SerializeToUtf8Bytes(one, ApiJson.Default.EnrolmentRuleMessage).AsSpan().SequenceEqual(JsonSerializer.SerializeToUtf8Bytes(other, ApiJson.Default.EnrolmentRuleMessage));

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_rule", detail);
}

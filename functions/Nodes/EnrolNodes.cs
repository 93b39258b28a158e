using System.Security.Cryptography;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Tpm;

namespace Keylime.Functions.Nodes;

/// <summary>
/// <c>PUT /v1/nodes/{id}</c>: admits a registered agent. The attestation key that it activated is pinned here:
/// whatever is registered under the id later, this node answers to that key and to no other.
/// </summary>
internal static partial class EnrolNodes
{
    private const int MinInterval = 1;
    private const int MaxInterval = 86_400;
    private const int MaxTries = 3;

    private static readonly Dictionary<string, IReadOnlyList<string>> NoPcrs = [];

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPut("/v1/nodes/{id}", HandleAsync).Under(new(Caller.Operator, ApiFamily.Own, RouteRules.NodeBody));

    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, INodeStore nodes, IRegistrationStore registrations, IPolicyStore policies, IVerdictStore verdicts,
        IEventStore events, ServiceOptions options, TimeProvider clock, ILogger<Node> log, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.EnrolNode, cancel)).TryGet(out var asked, out var unread))
            return unread;
        if (Objection(asked) is { } objection)
            return objection;
        if (asked.RuntimePolicy is { } policy && await policies.FindAsync(policy, cancel) is null)
            return Bad("no_such_policy", $"runtimePolicy: there is no policy '{policy}'.", "Put it first: keylime policy put NAME FILE.");
        if (await registrations.FindAsync(id, cancel) is not { Value: var registration })
        {
            return new Refusal(StatusCodes.Status409Conflict, "not_registered", $"No agent has registered as '{id}'.")
            { Hint = "Start its agent first: it registers by itself." };
        }

        if (!registration.Active)
        {
            return new Refusal(StatusCodes.Status409Conflict, "not_activated", $"'{id}' has registered, and has not shown yet that its keys are in one TPM.")
            { Hint = "Wait for its agent to activate, or look at the agent's log." };
        }

        var key = PublicArea.Parse(registration.AttestationKey.Span);
        if (asked.AttestationKeyName is { } named && !IsNameOf(key, named))
        {
            return new Refusal(StatusCodes.Status409Conflict, "other_key",
                $"attestationKeyName: '{id}' registered the key {Convert.ToHexStringLower(key.ComputeName())}, not {named}.");
        }

        var now = clock.GetUtcNow();
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await nodes.FindAsync(id, cancel);
            var next = Make(id, asked, registration, key, options, now, stored?.Value);
            if (stored is { Value: { RetiredAt: null } known })
            {
                return Same(known, next)
                    ? await AnswerAsync(StatusCodes.Status200OK, known, verdicts, now, cancel)
                    : new Refusal(StatusCodes.Status409Conflict, "enrolled_otherwise", $"'{id}' is enrolled already, with {Difference(known, next)}.")
                    { Hint = "To enrol it anew, retire it first; its history stays." };
            }

            var done = stored is null ? await nodes.TryAddAsync(next, cancel) : await nodes.TryReplaceAsync(stored, next, cancel);
            if (done is null)
                continue;

            var name = Convert.ToHexStringLower(next.AttestationKeyName.Span);
            LogEnrolled(log, id, name, next.Identity);
            await events.AddAsync(NodeEvent.Of(id, now, EventTypes.NodeEnrolled, $"Enrolled with the attestation key {name}."), CancellationToken.None);
            return await AnswerAsync(StatusCodes.Status201Created, next, verdicts, now, cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }

    private static Refusal? Objection(EnrolNode asked)
    {
        if (asked.RuntimePolicy is { } policy && !PolicyNames.IsValid(policy))
            return Bad("invalid_node", $"runtimePolicy: {PolicyNames.Expected}");
        if (asked.IntervalSeconds is < MinInterval or > MaxInterval)
            return Bad("invalid_node", $"intervalSeconds: {asked.IntervalSeconds} is not from {MinInterval} to {MaxInterval}.");
        return asked.Pcrs is { Count: > 0 } pcrs && !PcrPolicy.TryCreate(pcrs, out _, out var error)
            ? Bad("invalid_node", $"pcrs: {error}")
            : null;
    }

    private static bool IsNameOf(PublicArea key, string hex) =>
        string.Equals(Convert.ToHexStringLower(key.ComputeName()), hex, StringComparison.OrdinalIgnoreCase);

    /// <summary>A node that was retired comes back as a new one. Its numbers go on, so that its history stays whole.</summary>
    private static Node Make(
        AgentId id, EnrolNode asked, Registration registration, PublicArea key, ServiceOptions options, DateTimeOffset now, Node? former) => new()
        {
            Id = id,
            EnrolledAt = now,
            AttestationKey = key.Encode(),
            AttestationKeyName = key.ComputeName(),
            EndorsementKeyHash = registration.EndorsementKeyHash,
            Identity = registration.Identity,
            RuntimePolicy = asked.RuntimePolicy,
            Pcrs = asked.Pcrs ?? NoPcrs,
            IntervalSeconds = asked.IntervalSeconds ?? (int)options.Interval.TotalSeconds,
            NextAttestation = former?.NextAttestation ?? 0,
            Attestations = former?.Attestations ?? 0,
        };

    private static bool Same(Node known, Node next) => Difference(known, next) is null;

    private static string? Difference(Node known, Node next)
    {
        if (!CryptographicOperations.FixedTimeEquals(known.AttestationKeyName.Span, next.AttestationKeyName.Span))
            return "another attestation key";
        if (known.RuntimePolicy != next.RuntimePolicy)
            return known.RuntimePolicy is { } policy ? $"the runtime policy '{policy}'" : "no runtime policy";
        if (known.IntervalSeconds != next.IntervalSeconds)
            return $"an interval of {known.IntervalSeconds} s";
        return known.Pcrs.Count == next.Pcrs.Count
            && known.Pcrs.All(p => next.Pcrs.TryGetValue(p.Key, out var values) && values.SequenceEqual(p.Value, StringComparer.OrdinalIgnoreCase))
            ? null
            : "other PCR values";
    }

    private static async Task<IResult> AnswerAsync(int status, Node node, IVerdictStore verdicts, DateTimeOffset now, CancellationToken cancel)
    {
        var last = node.Last is { Attestation: var number } ? await verdicts.FindAsync(node.Id, number, cancel) : null;
        return Answer.Json(status, NodeViews.Details(node, last, now), ApiJson.Default.NodeDetails);
    }

    private static Refusal Bad(string code, string detail, string? hint = null) =>
        new(StatusCodes.Status400BadRequest, code, detail) { Hint = hint };

    [LoggerMessage(Level = LogLevel.Information, Message = "Enrolled {Agent} with the attestation key {Name}; identity: {Identity}")]
    private static partial void LogEnrolled(ILogger log, AgentId agent, string name, IdentityLevel identity);
}

using System.Security.Cryptography;
using Keylime.Attestation;
using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Nodes;

/// <summary>
/// <c>PUT /v1/nodes/{id}</c>: admits a registered agent. The attestation key that it activated is pinned here:
/// whatever is registered under the id later, this node answers to that key and to no other.
/// </summary>
internal static partial class EnrolNodes
{
    private const int MinInterval = 1;
    internal const int MaxInterval = 86_400;
    private const int MaxTries = 3;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPut("/v1/nodes/{id}", HandleAsync).Under(new(Caller.Operator, ApiFamily.Own, RouteRules.NodeBody) { Scoped = Scoping.Handler },
            new("Admit a registered agent, and pin its attestation key.", ApiJson.Default.EnrolNode, ApiJson.Default.NodeDetails, StatusCodes.Status201Created) { OrStatus = StatusCodes.Status200OK });

    /// <summary>What the handler works with.</summary>
    internal sealed record Dependencies(
        INodeStore Nodes, IRecordStore<Registration> Registrations, IRecordStore<PolicyRecord> Policies, IVerdictStore Verdicts,
        NodeMaker Maker, Settlement Settlement, Heartbeat Heartbeat, TimeProvider Clock, ILogger<Node> Log);

    private static async Task<IResult> HandleAsync(AgentId id, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, ApiJson.Default.EnrolNode, cancel)).TryGet(out var asked, out var unread))
            return unread;
        return await EnrolAsync(id, asked, context.CallerName(), context.Scope(), use, cancel);
    }

    /// <summary>Admits the agent, unless it is there otherwise.</summary>
    public static async Task<IResult> EnrolAsync(AgentId id, EnrolNode asked, string by, CallerScope scope, Dependencies use, CancellationToken cancel)
    {
        if (await ObjectionAsync(asked, "", use.Policies, scope, cancel) is { } objection)
            return objection;
        if (!scope.IsAll && asked.AttestationKeyName is null)
            return KeyNameNeeded();
        var found = await use.Registrations.FindAsync(id.ToString(), cancel);
        if (!scope.IsAll && (found is not { Value: { Active: true, AttestationKey: var key } } || !IsNamed(key, asked)))
            return GetNode.NotFound(id); // who does not know its key is told nothing of it
        if (found is not { Value: var registration })
        {
            return new Refusal(StatusCodes.Status409Conflict, "not_registered", $"No agent has registered as '{id}'.")
            { Hint = "Start its agent first: it registers by itself." };
        }

        if (!registration.Active)
        {
            return new Refusal(StatusCodes.Status409Conflict, "not_activated", $"'{id}' has registered, and has not shown yet that its keys are in one TPM.")
            { Hint = "Wait for its agent to activate, or look at the agent's log." };
        }

        var name = KeyNames.Of(registration.AttestationKey);
        if (asked.AttestationKeyName is { } named && !string.Equals(name, named, StringComparison.OrdinalIgnoreCase))
            return new Refusal(StatusCodes.Status409Conflict, "other_key", $"attestationKeyName: '{id}' registered the key {name}, not {named}.");

        var now = use.Clock.GetUtcNow();
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await use.Nodes.FindAsync(id, cancel);
            if (stored is not null && !MayAdmit(stored.Value, scope))
                return GetNode.NotFound(id);
            var next = use.Maker.Make(registration, asked, now, stored?.Value) with { AdmittedBy = by };
            if (stored is { Value: { RetiredAt: null, Waiting: null } known })
            {
                if (Difference(known, next) is { } difference)
                {
                    return new Refusal(StatusCodes.Status409Conflict, "enrolled_otherwise", $"'{id}' is enrolled already, with {difference}.")
                    { Hint = $"keylime node update {id} gives it other policies; to pin another key, retire it first." };
                }

                var settled = await use.Settlement.SettleAsync(stored, null, cancel); // what a crash may have left out is told
                return await AnswerAsync(StatusCodes.Status200OK, settled.Value, use.Verdicts, await use.Heartbeat.NowAsync(cancel), cancel);
            }

            var happened = NodeMaker.Enrolled(next);
            var done = stored is null ? await use.Settlement.AddAsync(next, happened, cancel) : await use.Settlement.ChangeAsync(stored, next, happened, cancel);
            if (done is null)
                continue;

            LogEnrolled(use.Log, id, name, next.Identity);
            return await AnswerAsync(StatusCodes.Status201Created, done.Value, use.Verdicts, await use.Heartbeat.NowAsync(cancel), cancel);
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else changes this node at this moment; try again.");
    }

    /// <summary>Whether a caller may admit it: what is of the caller's groups, and what waits and is of nobody's yet.</summary>
    public static bool MayAdmit(Node node, CallerScope scope) => scope.Covers(node) || node is { Waiting: not null, Group: null };

    public static Refusal OtherGroup(CallerScope scope) =>
        new(StatusCodes.Status403Forbidden, "other_group", $"group: one of {scope} is expected, the groups that this role is for.") { Hint = "keylime node … --group GROUP" };

    /// <summary>A machine that belongs to nobody yet is anybody's who has been at it: who names its key has.</summary>
    private static Refusal KeyNameNeeded() => new(StatusCodes.Status403Forbidden, "key_name_needed", "attestationKeyName: is expected of a caller whose role is for groups of nodes alone.")
    { Hint = "An operator of the whole service tells it, or the machine itself." };

    private static bool IsNamed(ReadOnlyMemory<byte> key, EnrolNode asked) => string.Equals(KeyNames.Of(key), asked.AttestationKeyName, StringComparison.OrdinalIgnoreCase);

    /// <summary>What is wrong with what a node is to be enrolled with.</summary>
    /// <param name="where">In front of the member's name.</param>
    /// <param name="scope">Of who asks: into other groups nothing is enrolled, and other groups' policies are none.</param>
    public static async Task<Refusal?> ObjectionAsync(EnrolNode asked, string where, IRecordStore<PolicyRecord> policies, CallerScope scope, CancellationToken cancel)
    {
        if (!scope.Covers(asked.Group))
            return OtherGroup(scope);
        if (asked.RuntimePolicy is { } policy && !PolicyNames.IsValid(policy))
            return Bad("invalid_node", $"{where}runtimePolicy: {PolicyNames.Expected}");
        if (asked.IntervalSeconds is < MinInterval or > MaxInterval)
            return Bad("invalid_node", $"{where}intervalSeconds: {asked.IntervalSeconds} is not from {MinInterval} to {MaxInterval}.");
        if (asked.Recovery is { } recovery && !Recoveries.IsValid(recovery))
            return Bad("invalid_node", $"{where}recovery: {Recoveries.Expected}");
        if (asked.Group is { } group && !AgentId.TryParse(group, null, out _))
            return Bad("invalid_node", $"{where}group: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");
        if (asked.Pcrs is { Count: > 0 } pcrs && !PcrPolicy.TryCreate(pcrs, out _, out var error))
            return Bad("invalid_node", $"{where}pcrs: {error}");
        if (asked.BootPolicy is { } boot && !PolicyNames.IsValid(boot))
            return Bad("invalid_node", $"{where}bootPolicy: {PolicyNames.Expected}");
        return await PolicyObjectionAsync(asked, where, policies, scope, cancel);
    }

    /// <summary>What is wrong with the policies that a node is to be judged by.</summary>
    public static async Task<Refusal?> PolicyObjectionAsync(EnrolNode asked, string where, IRecordStore<PolicyRecord> policies, CallerScope scope, CancellationToken cancel)
    {
        return await WantAsync(asked.RuntimePolicy, "runtimePolicy", PolicyKind.Runtime) ?? await WantAsync(asked.BootPolicy, "bootPolicy", PolicyKind.Boot);

        async Task<Refusal?> WantAsync(string? name, string member, PolicyKind kind) =>
            name is null ? null : await policies.FindAsync(name, scope, cancel) switch
            {
                null => Bad("no_such_policy", $"{where}{member}: there is no policy '{name}'.", "Put it first: keylime policy put NAME FILE."),
                { Value.Group: { } owner } when owner != asked.Group => Bad("other_groups_policy", $"{where}{member}: '{name}' is a policy of the group '{owner}', whose operators would decide about this node, which is not of it."),
                { Value.Kind: var other } when other != kind => Bad("wrong_policy", $"{where}{member}: '{name}' is a {other.ToString().ToLowerInvariant()} policy."),
                _ => null,
            };
    }

    private static string? Difference(Node known, Node next)
    {
        if (!CryptographicOperations.FixedTimeEquals(known.AttestationKeyName.Span, next.AttestationKeyName.Span))
            return "another attestation key";
        return PolicyDifference(known, next);
    }

    /// <summary>What one is judged by and the other is not, in words.</summary>
    public static string? PolicyDifference(Node known, Node next)
    {
        if (known.RuntimePolicy != next.RuntimePolicy)
            return known.RuntimePolicy is { } policy ? $"the runtime policy '{policy}'" : "no runtime policy";
        if (known.BootPolicy != next.BootPolicy)
            return known.BootPolicy is { } boot ? $"the boot policy '{boot}'" : "no boot policy";
        if (known.IntervalSeconds != next.IntervalSeconds)
            return $"an interval of {known.IntervalSeconds} s";
        if (known.Recovery != next.Recovery)
            return $"the recovery '{known.Recovery ?? Recoveries.Pass}'";
        if (known.Group != next.Group)
            return known.Group is { } group ? $"the group '{group}'" : "no group";
        return known.Pcrs.Count == next.Pcrs.Count
            && known.Pcrs.All(p => next.Pcrs.TryGetValue(p.Key, out var values) && values.SequenceEqual(p.Value, StringComparer.OrdinalIgnoreCase))
            ? null
            : "other PCR values";
    }

    /// <param name="proposedKeyName">Of a key that waits for approval.</param>
    public static async Task<IResult> AnswerAsync(int status, Node node, IVerdictStore verdicts, Moment now, CancellationToken cancel, string? proposedKeyName = null)
    {
        VerdictRecord? last = null;
        try
        {
            last = node.Last is { Attestation: var number } ? await verdicts.FindAsync(node.Id, number, cancel) : null;
        }
        catch (UnreadableRowException)
        {
            // The node's own row has the verdict's outcome; its findings are what is missing.
        }

        return Answer.Json(status, NodeViews.Details(node, last, now) with { ProposedKeyName = proposedKeyName }, ApiJson.Default.NodeDetails);
    }

    private static Refusal Bad(string code, string detail, string? hint = null) =>
        new(StatusCodes.Status400BadRequest, code, detail) { Hint = hint };

    [LoggerMessage(Level = LogLevel.Information, Message = "Enrolled {Agent} with the attestation key {Name}; identity: {Identity}")]
    private static partial void LogEnrolled(ILogger log, AgentId agent, string name, IdentityLevel identity);
}

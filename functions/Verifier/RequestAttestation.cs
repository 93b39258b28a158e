using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Policies;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;
using Microsoft.AspNetCore.Http.Features;

namespace Keylime.Functions.Verifier;

/// <summary><c>POST /v3.0/agents/{id}/attestations</c>: an agent says what it can prove, and is told what to prove, to a fresh nonce.</summary>
internal static partial class RequestAttestation
{
    private const int MaxTries = 3;

    // Agents sleep from our answer on, and their clocks and networks are not exact.
    private const double Early = 0.1;

    private static readonly TimeSpan ChallengeLifetime = TimeSpan.FromSeconds(1800);

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/agents/{id}/attestations", HandleAsync).Under(
            new(Caller.Agent, ApiFamily.Attestations, RouteRules.CapabilitiesBody),
            new("Say what can be proven; the answer says what to prove.", UpstreamJson.Default.DocumentAttestationAttributes, UpstreamJson.Default.DocumentAttestationAttributes, StatusCodes.Status201Created));

    // The order is upstream's (keylime-wire 2B.3).
    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, INodeStore nodes, IRecordStore<PolicyRecord> policies, CompiledPolicies compiled, Settlement settlement, IChallengeSource challenges,
        TimeProvider clock, ILogger<OpenAttestation> log, CancellationToken cancel)
    {
        var stored = context.Features.GetRequiredFeature<Stored<Node>>();
        Document<AttestationAttributes>? request = null;
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (stored.Value.RetiredAt is not null)
                return new Refusal(StatusCodes.Status403Forbidden, "agent_attestations_disabled", $"Attestations of agent '{id}' are disabled: it is retired.");
            stored = await settlement.SettleAsync(stored, null, cancel);
            var now = clock.GetUtcNow();
            if (Premature(stored.Value, now) is { } premature)
                return premature;

            if (request is null)
            {
                if (!(await RequestBody.ReadJsonApiAsync(context, UpstreamJson.Default.DocumentAttestationAttributes, cancel)).TryGet(out request, out var unread))
                    return unread;
                if (request.Data.Type != Attestations.ResourceType)
                    return new Refusal(StatusCodes.Status422UnprocessableEntity, "invalid_resource_data", "must be 'attestation'") { Pointer = "/data/type" };
            }

            var judges = await PinnedPolicies.OfAsync(stored.Value, policies, cancel);
            var boot = judges.Boot is { } digest ? await compiled.FindBootAsync(digest, cancel) : null;
            var key = PublicArea.Parse(stored.Value.AttestationKey.Span);
            var pcrs = Asking.Pcrs(stored.Value, boot);
            var negotiation = Negotiation.Of(stored.Value, await StartAsync(stored.Value, judges, now, compiled, cancel), key, pcrs, judges, request.Data.Attributes);
            if (negotiation.Errors.Count > 0)
                return new Refusal(StatusCodes.Status422UnprocessableEntity, "invalid_resource_data", "") { Errors = negotiation.Errors };

            var next = Open(stored.Value, key, pcrs, judges, negotiation, challenges.NewNonce(), now);
            if (await nodes.TryReplaceAsync(stored, next, cancel) is not null)
            {
                LogOpened(log, id, next.Open!.Number);
                context.Response.Headers.Location = Attestations.Link(id, next.Open.Number);
                return Attestations.Answer(StatusCodes.Status201Created, Attestations.Waiting(next, next.Open));
            }

            stored = await nodes.FindAsync(id, cancel) ?? throw new StorageUnavailableException($"The row of {id} has gone.");
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Another request changes this agent at this moment; try again.");
    }

    // Lines that passed by a layer that has run out since are judged again.
    private static async Task<NodeCheckpoint?> StartAsync(Node node, PinnedPolicies judges, DateTimeOffset now, CompiledPolicies compiled, CancellationToken cancel) =>
        node.Checkpoint is null || judges.Runtime is not { } digest || await compiled.FindRuntimeAsync(digest, cancel) is not { } policy
            || policy.HasLapsed(node.LastPassAt ?? DateTimeOffset.MinValue, now)
            ? null
            : node.Checkpoint;

    private static Refusal? Premature(Node node, DateTimeOffset now)
    {
        if (node.Last is not { } last || last.At > now)
            return null; // of a time that has not come: the clock was set back, and nobody is kept waiting for that
        var wait = last.At.AddSeconds(node.IntervalSeconds * (1 - Early)) - now;
        return wait <= TimeSpan.Zero
            ? null
            : new Refusal(StatusCodes.Status429TooManyRequests, "premature_attestation", "The next attestation is not expected yet.")
            { RetryAfter = (int)Math.Ceiling(wait.TotalSeconds) };
    }

    /// <summary>A newer challenge takes the place of one that waits; the number of the first that may have been answered is kept.</summary>
    private static Node Open(
        Node node, PublicArea key, PcrSet pcrs, PinnedPolicies judges, Negotiation negotiation, byte[] nonce, DateTimeOffset now) => node with
        {
            NextAttestation = checked(node.NextAttestation + 1),
            Open = new OpenAttestation
            {
                Number = node.NextAttestation,
                UnsettledFrom = node.Open?.UnsettledFrom ?? node.NextAttestation,
                Nonce = nonce,
                Bank = negotiation.Bank,
                PcrBits = pcrs.Bits,
                Scheme = key.Scheme.Algorithm,
                SchemeHash = key.Scheme.Hash,
                Ima = negotiation.Ima,
                RuntimePolicyDigest = judges.Runtime,
                BootPolicyDigest = judges.Boot,
                BootLog = negotiation.BootLog,
                Boot = negotiation.Boot,
                BootTime = negotiation.BootTime,
                RequestedAt = now,
                ExpiresAt = now + ChallengeLifetime,
            },
        };

    [LoggerMessage(Level = LogLevel.Debug, Message = "Attestation {Number} of {Agent} is open")]
    private static partial void LogOpened(ILogger log, AgentId agent, long number);
}

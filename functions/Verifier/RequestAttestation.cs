using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Microsoft.AspNetCore.Http.Features;

namespace Keylime.Functions.Verifier;

/// <summary><c>POST /v3.0/agents/{id}/attestations</c>: an agent says what it can prove, and is told what to prove, to a fresh nonce.</summary>
internal static partial class RequestAttestation
{
    private const int MaxTries = 3;

    // Agents sleep from our answer on, and their clocks and networks are not exact.
    private const double Early = 0.1;

    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/agents/{id}/attestations", HandleAsync).Under(
            new(Caller.Agent, ApiFamily.Attestations, RouteRules.CapabilitiesBody),
            new("Say what can be proven; the answer says what to prove.", UpstreamJson.Default.DocumentAttestationAttributes, UpstreamJson.Default.DocumentAttestationAttributes, StatusCodes.Status201Created));

    // The order is upstream's (keylime-wire 2B.3).
    private static async Task<IResult> HandleAsync(
        AgentId id, HttpContext context, INodeStore nodes, Settlement settlement, Challenges challenges, TimeProvider clock, ILogger<OpenAttestation> log, CancellationToken cancel)
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

            var wanted = await challenges.WantedAsync(stored.Value, now, cancel);
            var negotiation = Negotiation.Of(stored.Value, wanted.Start, wanted.Key, wanted.Pcrs, wanted.Judges, request.Data.Attributes);
            if (negotiation.Errors.Count > 0)
                return new Refusal(StatusCodes.Status422UnprocessableEntity, "invalid_resource_data", "") { Errors = negotiation.Errors };

            var next = challenges.Open(stored.Value, wanted, negotiation, now);
            if (await nodes.TryReplaceAsync(stored, next, cancel) is not null)
            {
                LogOpened(log, id, next.Open!.Number);
                context.Response.Headers.Location = Attestations.Link(id, next.Open.Number);
                return Attestations.Answer(StatusCodes.Status201Created, Attestations.Waiting(next, next.Open), new DocumentMeta { NextOffered = true });
            }

            stored = await nodes.FindAsync(id, cancel) ?? throw new StorageUnavailableException($"The row of {id} has gone.");
        }

        return new Refusal(StatusCodes.Status409Conflict, "conflict", "Another request changes this agent at this moment; try again.");
    }

    /// <summary>Who comes before it is due is to come again; evidence for an attestation that was asked in advance too.</summary>
    public static Refusal? Premature(Node node, DateTimeOffset now)
    {
        if (node.Last is not { } last || last.At > now)
            return null; // of a time that has not come: the clock was set back, and nobody is kept waiting for that
        var wait = last.At.AddSeconds(node.IntervalSeconds * (1 - Early)) - now;
        return wait <= TimeSpan.Zero
            ? null
            : new Refusal(StatusCodes.Status429TooManyRequests, "premature_attestation", "The next attestation is not expected yet.")
            { RetryAfter = (int)Math.Ceiling(wait.TotalSeconds) };
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "Attestation {Number} of {Agent} is open")]
    private static partial void LogOpened(ILogger log, AgentId agent, long number);
}

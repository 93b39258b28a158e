using System.Globalization;
using Keylime.Functions.Hosting;
using Keylime.Functions.Notices;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Microsoft.AspNetCore.Http.Features;

namespace Keylime.Functions.Verifier;

/// <summary>
/// <c>PATCH /v3.0/agents/{id}/attestations/{number}</c>: an agent answers its challenge, and is judged by the answer, here and now.
/// </summary>
internal static partial class SubmitEvidence
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPatch("/agents/{id}/attestations/{number}", HandleAsync).Under(
            new(Caller.Agent, ApiFamily.Attestations, RouteRules.EvidenceBody),
            new("Answer the challenge; the answer has the verdict.", UpstreamJson.Default.DocumentAttestationAttributes, UpstreamJson.Default.DocumentAttestationAttributes, StatusCodes.Status202Accepted));

    private static async Task<IResult> HandleAsync(
        AgentId id, string number, HttpContext context, IVerdictStore verdicts, IEventStore events, Settlement settlement, Judge judge, Challenges challenges,
        Payloads.PayloadCatalog payloads, NoticeBoard notices, Instruments instruments, TimeProvider clock, ILogger<VerdictRecord> log, CancellationToken cancel)
    {
        if (!MediaTypes.IsJsonApi(context.Request.ContentType))
            return new Refusal(StatusCodes.Status415UnsupportedMediaType, "unsupported_media_type", $"Content-Type {MediaTypes.JsonApi} is expected.");

        var stored = context.Features.GetRequiredFeature<Stored<Node>>();
        if (Closed(stored.Value, number, clock.GetUtcNow()) is { } closed)
            return closed;
        var open = stored.Value.Open!;

        if (!(await RequestBody.ReadJsonApiAsync(context, UpstreamJson.Default.DocumentAttestationAttributes, cancel)).TryGet(out var request, out var unread))
            return unread;
        var receivedAt = clock.GetUtcNow();
        switch (request.Data.Type)
        {
            case Attestations.ResourceType:
                break;
            case "error": // how upstream's agent says that it cannot do what it was asked
                await events.AddAsync(EventRecord.Of(id, open.RequestedAt, EventTypes.AgentError, "The agent reported that it could not collect the evidence.", open.Number), cancel);
                return new Refusal(StatusCodes.Status400BadRequest, "agent_error", "The agent reported that it could not collect the evidence.");
            default:
                return new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "must be 'attestation'") { Pointer = "/data/type" };
        }

        if (!LogLength.TryRead(context.Request, open, out var declared, out var undeclared))
            return undeclared;
        if (!ReportedEvidence.TryRead(open, request.Data.Attributes, declared, out var evidence, out var refusal))
            return refusal;

        if (AgentNotices.Refused(request.Meta?.NoticesAfter) is { } impossible)
            return impossible;

        var next = request.Meta?.NextWanted is true;
        var wanted = next || open.InAdvance ? await challenges.WantedAsync(stored.Value, receivedAt, cancel) : null;
        if (open.InAdvance && (IsStale(stored.Value, evidence, receivedAt) || !Challenges.StillHolds(stored.Value, open, wanted!)))
            return new Refusal(StatusCodes.Status403Forbidden, "challenges_expired", $"What attestation {open.Number} was asked in advance does not hold any more: ask again, and answer at once.");

        // A store that does not answer is met before the nonce is spent.
        var known = await payloads.AllAsync(cancel);
        var told = request.Meta?.NoticesAfter is { } last ? await notices.ReadAsync(last, cancel) : null;
        var verdict = await judge.JudgeAsync(stored.Value, open, evidence, receivedAt, cancel);

        // This spends the nonce, once, whoever else answers it at the same time. From here on nobody cancels.
        var first = await verdicts.TryAddAsync(verdict, CancellationToken.None);
        var judgedAt = verdict.Message.At;
        var after = await settlement.SettleAsync(stored, first ? verdict : null, CancellationToken.None, next && first ? node => challenges.OpenInAdvance(node, wanted!, open, judgedAt) : null);
        if (!first)
            return Immutable(open.Number);

        instruments.Judged(verdict);
        LogJudged(log, verdict.Pass ? LogLevel.Debug : LogLevel.Information, id, open.Number, verdict.Message.Evaluation, verdict.Message.Findings is [var finding, ..] ? finding.Code : "-");
        return Attestations.Answer(StatusCodes.Status202Accepted, Attestations.Judged(verdict), new DocumentMeta
        {
            SecondsToNextAttestation = Nodes.NodeStates.SecondsToNext(id, open.Number, after.Value.IntervalSeconds),
            NextAttestation = next && after.Value.Open is { InAdvance: true } following && following.RequestedAt == judgedAt ? Attestations.Waiting(after.Value, following) : null,
            SecondsToTokenExpiry = next && after.Value.Session is { } session ? (long)Math.Max(0, (session.ExpiresAt - judgedAt).TotalSeconds) : null,
            Payloads = payloads.DigestFor(after.Value, known),
            Notices = told?.Notices,
            NoticesNext = told?.Next,
            NoticesLost = told is { Lost: true } ? true : null,
        });
    }

    // The order is upstream's (keylime-wire 2B.4).
    private static Refusal? Closed(Node node, string number, DateTimeOffset now)
    {
        var latest = node.NextAttestation - 1;
        if (node.RetiredAt is not null)
            return new Refusal(StatusCodes.Status403Forbidden, "agent_attestations_disabled", $"Attestations of agent '{node.Id}' are disabled: it is retired.");

        long asked;
        if (number == "latest")
            asked = latest;
        else if (!long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out asked))
            return Attestations.NotFound(node.Id, "of that number");
        if (latest < 0 || asked > latest)
            return Attestations.NotFound(node.Id, number);

        if (asked < latest)
            return new Refusal(StatusCodes.Status403Forbidden, "old_attestation", $"Attestation {asked} is not the latest one, which is {latest}.");
        if (node.Open?.Number != asked)
            return Immutable(asked);
        return node.Open switch
        {
            var open when open.ExpiresAt <= now => new Refusal(StatusCodes.Status403Forbidden, "challenges_expired", $"The challenge of attestation {asked} has expired."),
            { InAdvance: true } => RequestAttestation.Premature(node, now),
            _ => null,
        };
    }

    private static bool IsStale(Node node, Keylime.Attestation.Evidence evidence, DateTimeOffset now) =>
        Keylime.Tpm.QuoteStatement.TryParse(evidence.Quote.Message, out var quote) && Challenges.IsStale(node, quote, now); // what is no quote is judged to be none

    private static Refusal Immutable(long number) => new(
        StatusCodes.Status403Forbidden, "evidence_immutable", $"Cannot alter evidence for attestation {number} which has already been received and accepted.");

    // A pass is what happens all day: metrics count it, the history keeps it, and of a large fleet its lines would cost more than all else.
    [LoggerMessage(Message = "Judged attestation {Number} of {Agent}: {Evaluation} ({Finding})")]
    private static partial void LogJudged(ILogger log, LogLevel level, AgentId agent, long number, string evaluation, string finding);
}

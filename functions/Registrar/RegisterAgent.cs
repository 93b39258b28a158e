using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Functions.Registrar;

/// <summary>
/// <c>POST /v2.x/agents/{id}</c>: a TPM claims an id, and is given a credential that only it can open.
/// The keys of an id never change hands.
/// </summary>
internal static partial class RegisterAgent
{
    private const string Invalid = "Could not register agent with invalid data";
    private const string Forbidden = "Agent re-registration with different TPM identity is forbidden for security reasons";
    private const int SecretLength = 32;
    private const int MaxText = 64 * 1024;
    private const int MaxTries = 3;

    // Whoever never activated has proven nothing, so it does not hold an id for ever.
    private static readonly TimeSpan UnprovenLifetime = TimeSpan.FromHours(1);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Anyone, ApiFamily.Registrar, RouteRules.RegistrarBody, PlainHttp: true);
        routes.MapPost("/agents", HandleUnnamedAsync).Under(rules);
        routes.MapPost("/agents/{id}", HandleNamedAsync).Under(rules);
    }

    private static Task<IResult> HandleUnnamedAsync(
        HttpContext context, IRegistrationStore registrations, IEventStore events, TrustStore trust, RateLimits limits,
        TimeProvider clock, ILogger<Registration> log, CancellationToken cancel) =>
        HandleAsync(null, context, registrations, events, trust, limits, clock, log, cancel);

    private static Task<IResult> HandleNamedAsync(
        AgentId id, HttpContext context, IRegistrationStore registrations, IEventStore events, TrustStore trust, RateLimits limits,
        TimeProvider clock, ILogger<Registration> log, CancellationToken cancel) =>
        HandleAsync(id, context, registrations, events, trust, limits, clock, log, cancel);

    private static async Task<IResult> HandleAsync(
        AgentId? named, HttpContext context, IRegistrationStore registrations, IEventStore events, TrustStore trust, RateLimits limits,
        TimeProvider clock, ILogger<Registration> log, CancellationToken cancel)
    {
        if (limits.CheckAddress(context) is { } limited)
            return limited;
        if (!(await RequestBody.ReadJsonAsync(context, UpstreamJson.Default.RegisterRequest, cancel)).TryGet(out var request, out var unread))
            return unread.Status == StatusCodes.Status400BadRequest ? unread with { Detail = Invalid } : unread;

        var id = named ?? default;
        if (named is null && !AgentId.TryParse(request.AgentId, null, out id))
            return Refuse(log, "-", "agent_id is missing or no agent id");

        var now = clock.GetUtcNow();
        if (!TryRead(id, request, trust, now, out var claim, out var why))
            return Refuse(log, id.ToString(), why);

        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await registrations.FindAsync(id, cancel);
            if (stored?.Value is { } known && Conflict(known, claim) is { } conflict && !IsForgotten(known, now))
            {
                LogConflict(log, id, conflict);
                await events.AddAsync(NodeEvent.OncePerMinute(id, now, EventTypes.IdentityConflict,
                    $"Another TPM identity was offered for this id and refused: {conflict}."), cancel);
                return new Refusal(StatusCodes.Status403Forbidden, "identity_conflict", Forbidden);
            }

            var secret = RandomNumberGenerator.GetString("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", SecretLength);
            var next = Next(stored?.Value, claim, ActivationTag.Hash(secret, id), now);
            var done = stored is null
                ? await registrations.TryAddAsync(next, cancel)
                : await registrations.TryReplaceAsync(stored, next, cancel);
            if (!done)
                continue; // somebody else registered this id meanwhile: look again at who

            LogRegistered(log, id, next.Identity, next.IdentityDetail);
            var blob = Credential.Make(
                PublicArea.Parse(claim.EndorsementKey.Span), PublicArea.Parse(claim.AttestationKey.Span).ComputeName(), Encoding.ASCII.GetBytes(secret));
            return Answer.Json(StatusCodes.Status200OK,
                new Envelope<RegisterResults>(StatusCodes.Status200OK, "Success", new RegisterResults(blob.Encode())),
                UpstreamJson.Default.EnvelopeRegisterResults);
        }

        return new Refusal(StatusCodes.Status403Forbidden, "registration_race",
            $"Agent with UUID '{id}' cannot be registered. This UUID is already in use or a concurrent registration is in progress.");
    }

    // keylime-wire 1.4: the endorsement certificate belongs to the endorsement key; both keys are what they are taken for.
    private static bool TryRead(
        AgentId id, RegisterRequest request, TrustStore trust, DateTimeOffset now,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Registration? claim, [System.Diagnostics.CodeAnalysis.NotNullWhen(false)] out string? why)
    {
        claim = null;
        if (!PublicArea.TryParse(request.EkTpm, out var ek))
            why = "ek_tpm is no TPM2B_PUBLIC";
        else if (!PublicArea.TryParse(request.AikTpm, out var ak))
            why = "aik_tpm is no TPM2B_PUBLIC";
        else if ((request.Ekcert?.Length ?? 0) > MaxText || (request.MtlsCert?.Length ?? 0) > MaxText || (request.Ip?.Length ?? 0) > 255)
            why = "a text is too long";
        else if (EndorsementKeys.Objection(ek) is { } objection)
            why = objection.Detail;
        else if (!AttestationKey.TryCreate(ak, out var key, out var refusal))
            why = refusal.Detail;
        else
        {
            key.Dispose();
            return TryReadEndorsement(id, request, ek, ak, trust, now, out claim, out why);
        }

        return false;
    }

    private static bool TryReadEndorsement(
        AgentId id, RegisterRequest request, PublicArea ek, PublicArea ak, TrustStore trust, DateTimeOffset now,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Registration? claim, [System.Diagnostics.CodeAnalysis.NotNullWhen(false)] out string? why)
    {
        claim = null;
        byte[] hash;
        try
        {
            hash = EndorsementKeys.SpkiHash(ek);
        }
        catch (CryptographicException e)
        {
            why = $"ek_tpm is no usable key: {e.Message}";
            return false;
        }

        var (level, certificate, detail) = EndorsementKeys.Check(ek, request.Ekcert, trust.Certificates, now) switch
        {
            EndorsementResult.Chained chained => (IdentityLevel.EndorsementCertificate, chained.Leaf, $"Chains to '{chained.Root}'."),
            EndorsementResult.Unchained unchained => (IdentityLevel.EndorsementKey, unchained.Leaf, unchained.Why),
            EndorsementResult.NoCertificate => (IdentityLevel.EndorsementKey, [], "No endorsement certificate was sent."),
            EndorsementResult.Rejected rejected => (IdentityLevel.None, null, rejected.Finding.Detail),
            _ => throw new System.Diagnostics.UnreachableException(),
        };
        why = detail;
        if (certificate is null)
            return false;

        why = null!;
        claim = new Registration
        {
            Id = id,
            EndorsementKey = ek.EncodeSized(),
            EndorsementKeyHash = hash,
            EndorsementCertificate = certificate,
            Identity = level,
            IdentityDetail = detail,
            AttestationKey = ak.EncodeSized(),
            Active = false,
            ExpectedTagHash = default,
            RegisteredAt = now,
            Registrations = 0,
            MtlsCertificate = request.MtlsCert,
            Ip = request.Ip,
            Port = request.Port is { ValueKind: JsonValueKind.Number or JsonValueKind.String } port ? port.GetRawText() : null,
        };
        return true;
    }

    // keylime-wire 1.4 (2): setting what was not set is no change of identity; changing or dropping what was set is.
    private static string? Conflict(Registration known, Registration claim)
    {
        if (!known.EndorsementKey.Span.SequenceEqual(claim.EndorsementKey.Span))
            return "another endorsement key";
        if (!known.AttestationKey.Span.SequenceEqual(claim.AttestationKey.Span))
            return "another attestation key";
        return known.EndorsementCertificate.IsEmpty || known.EndorsementCertificate.Span.SequenceEqual(claim.EndorsementCertificate.Span)
            ? null
            : "another endorsement certificate";
    }

    private static bool IsForgotten(Registration known, DateTimeOffset now) => !known.Active && known.RegisteredAt + UnprovenLifetime <= now;

    // The same identity again stays active: nobody who has proven nothing can put a node out of work.
    private static Registration Next(Registration? known, Registration claim, byte[] tagHash, DateTimeOffset now) =>
        known is not null && Conflict(known, claim) is null
            ? claim with { Active = known.Active, ExpectedTagHash = tagHash, RegisteredAt = now, Registrations = checked(known.Registrations + 1) }
            : claim with { ExpectedTagHash = tagHash, Registrations = 1 };

    private static Refusal Refuse(ILogger log, string id, string why)
    {
        LogRefused(log, id, why);
        return new Refusal(StatusCodes.Status400BadRequest, "invalid_data", Invalid);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Registered {Agent}: {Identity}. {Detail}")]
    private static partial void LogRegistered(ILogger log, AgentId agent, IdentityLevel identity, string detail);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Refused the registration of {Agent}: {Why}")]
    private static partial void LogRefused(ILogger log, string agent, string why);

    [LoggerMessage(Level = LogLevel.Error, Message = "Refused another TPM under the id {Agent}: {Conflict}")]
    private static partial void LogConflict(ILogger log, AgentId agent, string conflict);
}

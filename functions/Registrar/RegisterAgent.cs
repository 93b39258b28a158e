using System.Diagnostics.CodeAnalysis;
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
/// The endorsement key of an id never changes hands; another attestation key of the same TPM is a proposal, and waits for approval.
/// </summary>
internal static partial class RegisterAgent
{
    private const string Invalid = "Could not register agent with invalid data";
    private const string Forbidden = "Agent re-registration with different TPM identity is forbidden for security reasons";
    private const int SecretLength = 32;
    private const int MaxText = 64 * 1024;
    private const int MaxTries = 3;

    // Whoever never activated has proven nothing, so it does not hold an id for ever, nor a place for a proposal.
    private static readonly TimeSpan UnprovenLifetime = TimeSpan.FromHours(1);
    private static readonly TimeSpan UnprovenProposal = TimeSpan.FromMinutes(1);

    public static void Map(IEndpointRouteBuilder routes)
    {
        var rules = new RouteRules(Caller.Anyone, ApiFamily.Registrar, RouteRules.RegistrarBody, PlainHttp: true);
        var doc = new RouteDoc("Register a TPM under an id; the answer is a credential to activate.", UpstreamJson.Default.RegisterRequest, UpstreamJson.Default.EnvelopeRegisterResults);
        routes.MapPost("/agents", (HttpContext context, Dependencies use, CancellationToken cancel) => HandleAsync(null, context, use, cancel)).Under(rules, doc);
        routes.MapPost("/agents/{id}", (AgentId id, HttpContext context, Dependencies use, CancellationToken cancel) => HandleAsync(id, context, use, cancel)).Under(rules, doc);
    }

    /// <summary>What the handler works with.</summary>
    internal sealed record Dependencies(
        IRecordStore<Registration> Registrations, EndorsementClaims Claims, IEventStore Events, Identification Identification,
        RateLimits Limits, TimeProvider Clock, ILogger<Registration> Log);

    private static async Task<IResult> HandleAsync(AgentId? named, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (use.Limits.CheckFlood(context) is { } flooded)
            return flooded;
        if (!(await RequestBody.ReadJsonAsync(context, UpstreamJson.Default.RegisterRequest, cancel)).TryGet(out var request, out var unread))
            return use.Limits.CheckAddress(context) ?? (unread.Status == StatusCodes.Status400BadRequest ? unread with { Detail = Invalid } : unread);

        var id = named ?? default;
        if (named is null && !AgentId.TryParse(request.AgentId, null, out id))
            return use.Limits.CheckAddress(context) ?? Refuse(use.Log, "-", "agent_id is missing or no agent id");
        if (use.Limits.CheckRegistration(context, id) is { } limited)
            return limited;
        if (!TryRead(request, out var ek, out var ak, out var why))
            return Refuse(use.Log, id.ToString(), why);

        var now = use.Clock.GetUtcNow();
        switch (await use.Identification.IdentifyAsync(id, request, ek, ak, cancel))
        {
            case Identified.Known known:
                return await StoreAsync(id, Claim(id, request, ek, ak, known, now), ek, ak, use, now, cancel);
            case Identified.Refused { Finding: var finding, Malformed: var malformed }:
                await use.Events.AddAsync(EventRecord.OncePerMinute(id, now, EventTypes.IdentityRefused, $"A registration was refused: {finding.Code}: {finding.Detail}"), cancel);
                LogRefused(use.Log, id.ToString(), finding.Detail);
                return malformed
                    ? new Refusal(StatusCodes.Status400BadRequest, "invalid_data", $"{Invalid}: {finding.Code}: {finding.Detail}")
                    : new Refusal(StatusCodes.Status403Forbidden, "identity_refused", $"The TPM of '{id}' is not known well enough: {finding.Code}: {finding.Detail}");
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    private static async Task<IResult> StoreAsync(AgentId id, Registration claim, PublicArea ek, PublicArea ak, Dependencies use, DateTimeOffset now, CancellationToken cancel)
    {
        if (await use.Claims.FindRivalAsync(claim, cancel) is { } rival)
            return await DuplicateAsync(id, rival, use.Events, now, cancel);

        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await use.Registrations.FindAsync(id.ToString(), cancel);
            if (stored?.Value is { } known && Conflict(known, claim, now) is { } conflict && !IsForgotten(known, now))
            {
                LogConflict(use.Log, id, conflict);
                await use.Events.AddAsync(EventRecord.OncePerMinute(id, now, EventTypes.IdentityConflict,
                    $"Another TPM identity was offered for this id and refused: {conflict}."), cancel);
                return new Refusal(StatusCodes.Status403Forbidden, "identity_conflict", Forbidden);
            }

            var secret = RandomNumberGenerator.GetString("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", SecretLength);
            var next = Next(stored?.Value, claim, ActivationTag.Hash(secret, id), now);
            var done = stored is null
                ? await use.Registrations.TryAddAsync(next, cancel)
                : await use.Registrations.TryReplaceAsync(stored, next, cancel);
            if (!done)
                continue; // somebody else registered this id meanwhile: look again at who

            LogRegistered(use.Log, id, next.Identity, next.IdentityDetail);
            var blob = Credential.Make(ek, ak.ComputeName(), Encoding.ASCII.GetBytes(secret));
            return Answer.Json(StatusCodes.Status200OK,
                new Envelope<RegisterResults>(StatusCodes.Status200OK, "Success", new RegisterResults(blob.Encode())),
                UpstreamJson.Default.EnvelopeRegisterResults);
        }

        return new Refusal(StatusCodes.Status403Forbidden, "registration_race",
            $"Agent with UUID '{id}' cannot be registered. This UUID is already in use or a concurrent registration is in progress.");
    }

    /// <summary>One TPM is one node: what a clone of a virtual TPM looks like.</summary>
    public static async Task<Refusal> DuplicateAsync(AgentId id, AgentId owner, IEventStore events, DateTimeOffset now, CancellationToken cancel)
    {
        await events.AddAsync(EventRecord.OncePerMinute(id, now, EventTypes.DuplicateEndorsementKey, $"Its endorsement key is that of '{owner}': one TPM is one node."), cancel);
        await events.AddAsync(EventRecord.OncePerMinute(owner, now, EventTypes.DuplicateEndorsementKey, $"Its endorsement key was offered under another id, '{id}', and refused."), cancel);
        return new Refusal(StatusCodes.Status403Forbidden, "duplicate_endorsement_key", "The endorsement key of this TPM is that of another id: one TPM is one node.");
    }

    // keylime-wire 1.4: both keys are what they are taken for.
    private static bool TryRead(
        RegisterRequest request, [NotNullWhen(true)] out PublicArea? ek, [NotNullWhen(true)] out PublicArea? ak, [NotNullWhen(false)] out string? why)
    {
        ak = null;
        string? objection = null;
        if (!PublicArea.TryParse(request.EkTpm, out ek))
            objection = "ek_tpm is no TPM2B_PUBLIC";
        else if (!PublicArea.TryParse(request.AikTpm, out ak))
            objection = "aik_tpm is no TPM2B_PUBLIC";
        else if (((string?[])[request.Ekcert, request.MtlsCert, request.IakCert, request.IdevidCert]).Any(static t => t?.Length > MaxText) || (request.Ip?.Length ?? 0) > 255)
            objection = "a text is too long";
        else if (EndorsementKeys.Objection(ek) is { } unsupported)
            objection = unsupported.Detail;
        else if (!AttestationKey.TryCreate(ak, out var key, out var refusal))
            objection = refusal.Detail;
        else
            key.Dispose();

        try
        {
            if (objection is null)
                _ = EndorsementKeys.SpkiHash(ek!);
        }
        catch (CryptographicException e)
        {
            objection = $"ek_tpm is no usable key: {e.Message}";
        }

        why = objection ?? (ek is null || ak is null ? Invalid : null);
        return why is null;
    }

    private static Registration Claim(AgentId id, RegisterRequest request, PublicArea ek, PublicArea ak, Identified.Known known, DateTimeOffset now) => new()
    {
        Id = id,
        EndorsementKey = ek.EncodeSized(),
        EndorsementKeyHash = EndorsementKeys.SpkiHash(ek),
        EndorsementCertificate = known.Certificate,
        Identity = known.Level,
        IdentityDetail = known.Detail,
        Issuer = known.Issuer,
        Manufacturer = known.Maker?.Manufacturer,
        Model = known.Maker?.Model,
        Version = known.Maker?.Version,
        AttestationKey = ak.EncodeSized(),
        Active = false,
        ExpectedTagHash = default,
        RegisteredAt = now,
        Registrations = 0,
        MtlsCertificate = request.MtlsCert,
        Ip = request.Ip,
        Port = request.Port is { ValueKind: JsonValueKind.Number or JsonValueKind.String } port ? port.GetRawText() : null,
    };

    // keylime-wire 1.4 (2): setting what was not set is no change of identity; changing or dropping what was set is.
    private static string? Conflict(Registration known, Registration claim, DateTimeOffset now)
    {
        if (!known.EndorsementKey.Span.SequenceEqual(claim.EndorsementKey.Span))
            return "another endorsement key";
        if (!known.EndorsementCertificate.IsEmpty && !known.EndorsementCertificate.Span.SequenceEqual(claim.EndorsementCertificate.Span))
            return "another endorsement certificate";
        if (known.AttestationKey.Span.SequenceEqual(claim.AttestationKey.Span))
            return null;
        if (!known.Active)
            return "another attestation key, of a registration that was never activated";

        // An active registration may be offered another key, one at a time: nobody can push away an offer that is being proven.
        return known.Offer is { } open && open.ProposedAt + UnprovenProposal > now && !open.AttestationKey.Span.SequenceEqual(claim.AttestationKey.Span)
            ? "another attestation key, while a third one is being proven"
            : null;
    }

    private static bool IsForgotten(Registration known, DateTimeOffset now) => !known.Active && known.RegisteredAt + UnprovenLifetime <= now;

    // The same identity again stays active: nobody who has proven nothing can put a node out of work.
    private static Registration Next(Registration? known, Registration claim, byte[] tagHash, DateTimeOffset now)
    {
        if (known is null || Conflict(known, claim, now) is not null)
            return claim with { ExpectedTagHash = tagHash, Registrations = 1 };
        if (known.AttestationKey.Span.SequenceEqual(claim.AttestationKey.Span))
        {
            return claim with
            {
                Active = known.Active,
                ActivatedAt = known.ActivatedAt,
                Offer = known.Offer,
                Proposal = known.Proposal,
                ExpectedTagHash = tagHash,
                Registrations = checked(known.Registrations + 1),
            };
        }

        return known with { Offer = new KeyProposal(claim.AttestationKey, tagHash, now, ProvenAt: null) };
    }

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

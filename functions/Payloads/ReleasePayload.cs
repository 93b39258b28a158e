using System.Security.Cryptography;
using Keylime.Attestation;
using Keylime.Attestation.Payloads;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Payloads;
using Keylime.Tpm;
using Microsoft.AspNetCore.Http.Features;
using Payload = Keylime.Functions.Storage.Payload;

namespace Keylime.Functions.Payloads;

/// <summary>
/// <c>POST /v3.0/agents/{id}/payloads/{name}/release</c>: an agent asks for the key of a payload. The vault unwraps it, and it is sealed to that machine's TPM
/// and to the values that its last verdict was given on; nobody else can open the answer, nor the same machine later.
/// </summary>
internal static partial class ReleasePayload
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapPost("/agents/{id}/payloads/{name}/release", HandleAsync).Under(
            new(Caller.Agent, ApiFamily.Attestations), new("Ask for the key of a payload, sealed to this machine.", PayloadJson.Default.ReleaseRequest, PayloadJson.Default.ReleasedPayload));

    /// <summary>What the handler works with.</summary>
    internal sealed record Dependencies(
        IRecordStore<Payload> Payloads, IRecordStore<PayloadShare> Shares, IRecordStore<Registration> Registrations, IVerdictStore Verdicts, Settlement Settlement,
        ReleaseLedger Ledger, IVault Vault, RateLimits Limits, TimeProvider Clock, ILogger<Payload> Log);

    private static async Task<IResult> HandleAsync(AgentId id, string name, HttpContext context, Dependencies use, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadJsonAsync(context, PayloadJson.Default.ReleaseRequest, cancel)).TryGet(out var asked, out var unread))
            return unread;
        if (asked.Challenge.Length != PayloadBinding.ChallengeSize)
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_request", $"A challenge of {PayloadBinding.ChallengeSize} bytes is expected.") { Pointer = "/challenge" };

        if (use.Limits.CheckRelease(id) is { } limited)
            return limited;

        // Verdicts that are in the history, and not in the row yet, count.
        var node = (await use.Settlement.SettleAsync(context.Features.GetRequiredFeature<Stored<Node>>(), null, cancel)).Value;
        if (await FindAsync(use.Payloads, name, node, cancel) is not { } payload)
            return NotFound();
        if (payload.Version != asked.Version)
            return new Refusal(StatusCodes.Status409Conflict, "other_version", $"'{name}' is there in version {payload.Version}, and not in {asked.Version}.");

        return await ReleaseAsync(payload, node, asked, use, cancel);
    }

    private static async Task<IResult> ReleaseAsync(Payload payload, Node node, ReleaseRequest asked, Dependencies use, CancellationToken cancel)
    {
        var verdict = node.Last is { Attestation: var number } ? await LastAsync(use.Verdicts, node, number, cancel) : null;
        var registration = await use.Registrations.FindAsync(node.Id.ToString(), cancel);
        switch (ReleaseDecision.Of(payload, node, verdict, registration?.Value, use.Clock.GetUtcNow()))
        {
            case ReleaseDecision.Granted granted:
                return await SealAsync(payload, node, asked, granted, use, cancel);
            case ReleaseDecision.Withheld(var code, var detail):
                return await WithholdAsync(payload, node, code, detail, use, cancel);
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    private static async Task<IResult> SealAsync(Payload payload, Node node, ReleaseRequest asked, ReleaseDecision.Granted granted, Dependencies use, CancellationToken cancel)
    {
        PayloadShare? share = null;
        if (payload.Split)
        {
            share = (await use.Shares.FindAsync(PayloadShare.KeyOf(payload.Name, payload.Version, node.Id), cancel))?.Value;
            if (share is null)
                return await WithholdAsync(payload, node, "no_share", "Nobody has sealed the other part of its key to this machine: keylime payload share.", use, cancel);
            if (share.EndorsementKeyHash != Convert.ToHexStringLower(node.EndorsementKeyHash.Span))
                return await WithholdAsync(payload, node, "other_tpm", "The other part of its key was sealed to another TPM than the one that this node was enrolled with.", use, cancel);
        }

        Unwrapped unwrapped;
        try
        {
            unwrapped = await use.Vault.UnwrapAsync(payload.KeyVersion, payload.WrappedKey, cancel);
        }
        catch (VaultUnavailableException e)
        {
            await use.Ledger.WithholdAsync(payload, node, "vault_unavailable", $"The vault does not answer: {e.Message}", CancellationToken.None);
            throw;
        }

        switch (unwrapped)
        {
            case Unwrapped.Key({ Length: PayloadBinding.KeySize } key):
                try
                {
                    return await AnswerAsync(payload, node, asked, granted, share, key, use, cancel);
                }
                finally
                {
                    CryptographicOperations.ZeroMemory(key);
                }

            case Unwrapped.Key({ Length: var length } other):
                CryptographicOperations.ZeroMemory(other);
                return await WithholdAsync(payload, node, "key_damaged", $"The key that the vault unwrapped has {length} bytes, and {PayloadBinding.KeySize} are expected: put the payload again.", use, cancel);
            case Unwrapped.NoSuchVersion(var detail):
                return await WithholdAsync(payload, node, "key_lost", $"The vault cannot unwrap with version '{payload.KeyVersion}' of its key: {detail}", use, cancel);
            case Unwrapped.NotWrapped(var detail):
                return await WithholdAsync(payload, node, "key_damaged", $"The wrapped key was not made with version '{payload.KeyVersion}' of the vault's key: {detail}", use, cancel);
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    private static async Task<IResult> AnswerAsync(
        Payload payload, Node node, ReleaseRequest asked, ReleaseDecision.Granted granted, PayloadShare? share, byte[] key, Dependencies use, CancellationToken cancel)
    {
        var plain = new byte[PayloadBinding.SealedSize];
        key.CopyTo(plain, 0);
        PayloadBinding.Digest(asked.Challenge, node.Id, payload.Name, payload.Version, payload.Parts.Select(static p => p.Digest)).CopyTo(plain, PayloadBinding.KeySize);
        WrappedSecret wrapped;
        try
        {
            wrapped = granted.Policy.Seal(granted.EndorsementKey, plain);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plain);
        }

        var policy = Write(granted.Policy);

        // From here on nobody cancels: what is written must be told, and what is told written.
        var (release, former) = await use.Ledger.TryGrantAsync(payload, node, asked.Challenge, Describe(policy), CancellationToken.None);
        if (release is null)
            return await WithholdAsync(payload, node, ReleaseLedger.AlreadyReleased, $"It is released once, and was at {former!.At:u}.", use, CancellationToken.None);

        LogReleased(use.Log, payload.Name, payload.Version, node.Id);
        var answer = new ReleasedPayload(
            release.Number, payload.Name, payload.Version, payload.Size, payload.Parts, policy,
            new SealedKey(wrapped.Public.Encode(), wrapped.Duplicate.ToArray(), wrapped.Seed.ToArray()), granted.ExpiresAt)
        { Share = share?.Sealed };
        return Answer.Json(StatusCodes.Status200OK, answer, PayloadJson.Default.ReleasedPayload);
    }

    private static BootPolicyMessage Write(BootBoundPolicy policy) => new(policy.Selection.Bank.ProtocolName()!, [.. policy.Selection.Pcrs], policy.ResetCount, policy.Clock);

    private static string Describe(BootPolicyMessage policy) =>
        $"Released to PCRs {string.Join(", ", policy.Pcrs)} ({policy.Bank}) of boot {policy.ResetCount}.";

    private static async Task<IResult> WithholdAsync(Payload payload, Node node, string code, string detail, Dependencies use, CancellationToken cancel)
    {
        await use.Ledger.WithholdAsync(payload, node, code, detail, cancel);
        return new Refusal(StatusCodes.Status403Forbidden, code, detail);
    }

    private static async Task<VerdictRecord?> LastAsync(IVerdictStore verdicts, Node node, long number, CancellationToken cancel)
    {
        try
        {
            return await verdicts.FindAsync(node.Id, number, cancel);
        }
        catch (UnreadableRowException)
        {
            return null; // no verdict is no pass
        }
    }

    /// <summary>A payload that is meant for the node. Of others it need not know that they are there.</summary>
    public static async Task<Payload?> FindAsync(IRecordStore<Payload> store, string name, Node node, CancellationToken cancel) =>
        PayloadName.IsValid(name) && await store.FindAsync(name, cancel) is { Value: var payload } && Audience.Has(payload.For, node) ? payload : null;

    public static Refusal NotFound() => new(StatusCodes.Status404NotFound, "no_such_payload", "There is no payload of that name for this machine.");

    [LoggerMessage(Level = LogLevel.Information, Message = "Released '{Payload}', version {Version}, to {Agent}")]
    private static partial void LogReleased(ILogger log, string payload, long version, AgentId agent);
}

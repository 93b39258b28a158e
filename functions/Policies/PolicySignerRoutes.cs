using System.Security.Cryptography;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Policies;

/// <summary>
/// <c>/v1/policy-signers</c>: whose signatures make policies valid. Approvers keep this list and operators put policies, so that nobody chooses the key that
/// their own policy is verified with.
/// </summary>
internal static class PolicySignerRoutes
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPut("/v1/policy-signers/{name}", PutAsync).Under(
            new(Caller.Approver, ApiFamily.Own, RouteRules.NodeBody), new("Trust a public key or an authority's certificate (PEM) to sign policies.", null, ApiJson.Default.PolicySigner) { RawRequest = ["application/x-pem-file"] });
        routes.MapGet("/v1/policy-signers", ListAsync).Under(new(Caller.Readers, ApiFamily.Own), new("Whose signatures make policies valid.", null, ApiJson.Default.PolicySignerList));
        routes.MapDelete("/v1/policy-signers/{name}", DeleteAsync).Under(
            new(Caller.Approver, ApiFamily.Own), new("Stop to trust a signer; policies that only they signed judge no more where signatures are required.", Status: StatusCodes.Status204NoContent));
    }

    private static async Task<IResult> PutAsync(
        string name, HttpContext context, IRecordStore<PolicySignerRecord> signers, CompiledPolicies compiled, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        if (!PolicyNames.IsValid(name))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_name", "A signer's name has 1 to 80 of A-Z a-z 0-9 _ . -.");
        if (!(await RequestBody.ReadBytesAsync(context, cancel)).TryGet(out var body, out var unread))
            return unread;
        if (!PolicySigners.TryRead(body.Span, out var der, out var isCertificate, out var error))
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_signer", $"The body is no public key and no certificate in PEM: {error}");

        var record = new PolicySignerRecord { Name = name, Der = der, IsCertificate = isCertificate, AddedAt = clock.GetUtcNow(), AddedBy = context.CallerName() };
        if (await signers.FindAsync(name, cancel) is { Value: var known })
        {
            if (!known.Der.Span.SequenceEqual(der))
            {
                return new Refusal(StatusCodes.Status409Conflict, "signer_exists", $"The signer '{name}' has another key.")
                { Hint = $"keylime policy signer remove {name} first; a new key is better kept under a new name." };
            }

            record = known;
        }
        else if (!await signers.TryAddAsync(record, cancel))
        {
            return new Refusal(StatusCodes.Status409Conflict, "conflict", "Somebody else puts this signer at this moment; try again.");
        }

        compiled.Forget();
        await events.AddAsync(EventRecord.Of(EventRecord.Service, record.AddedAt, EventTypes.SignerChanged, $"{record.AddedBy} trusts '{name}' ({Describe(record).Fingerprint}) to sign policies.", name), CancellationToken.None);
        return Answer.Json(StatusCodes.Status200OK, Describe(record), ApiJson.Default.PolicySigner);
    }

    private static async Task<IResult> ListAsync(IRecordStore<PolicySignerRecord> signers, CancellationToken cancel) => Answer.Json(
        StatusCodes.Status200OK, new PolicySignerList([.. (await signers.AllAsync(cancel)).Select(Describe)]), ApiJson.Default.PolicySignerList);

    private static async Task<IResult> DeleteAsync(
        string name, HttpContext context, IRecordStore<PolicySignerRecord> signers, CompiledPolicies compiled, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        while (PolicyNames.IsValid(name) && await signers.FindAsync(name, cancel) is { } stored)
        {
            await events.AddAsync(EventRecord.Of(EventRecord.Service, clock.GetUtcNow(), EventTypes.SignerChanged, $"{context.CallerName()} does not trust '{name}' to sign policies any more.", name), cancel);
            if (!await signers.TryDeleteAsync(stored, cancel))
                continue;
            compiled.Forget();
            return TypedResults.NoContent();
        }

        return new Refusal(StatusCodes.Status404NotFound, "no_such_signer", "There is no signer of that name.") { Hint = "keylime policy signer list (GET /v1/policy-signers) tells which there are." };
    }

    private static PolicySigner Describe(PolicySignerRecord signer) => new(
        signer.Name, signer.IsCertificate ? "certificate" : "key", Convert.ToHexStringLower(SHA256.HashData(signer.Der.Span)), signer.AddedAt, signer.AddedBy);
}

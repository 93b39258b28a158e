using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Identity;

/// <summary><c>/v1/trust</c>: the roots and intermediates that vouch for TPMs.</summary>
internal static class TrustRoutes
{
    private const int MaxAtOnce = 1000;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/v1/trust", AddAsync).Under(
            new(Caller.Operator, ApiFamily.Own, RouteRules.CertificatesBody), new("Trust certificates: PEM, or one in DER.", null, ApiJson.Default.TrustList)
            {
                RawRequest = ["application/x-pem-file", "application/pkix-cert"],
            });
        routes.MapGet("/v1/trust", ListAsync).Under(new(Caller.Readers, ApiFamily.Own), new("The certificates that vouch for TPMs.", null, ApiJson.Default.TrustList));
        routes.MapDelete("/v1/trust/{thumbprint}", RemoveAsync).Under(
            new(Caller.Operator, ApiFamily.Own), new("Stop to trust a certificate.", Status: StatusCodes.Status204NoContent));
    }

    private static async Task<IResult> AddAsync(
        HttpContext context, IRecordStore<TrustedCertificate> store, TrustStore trust, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        if (!(await RequestBody.ReadBytesAsync(context, cancel)).TryGet(out var body, out var unread))
            return unread;
        IReadOnlyList<X509Certificate2> certificates;
        try
        {
            certificates = CertificateFiles.Read(body.Span);
        }
        catch (CryptographicException e)
        {
            return Bad($"The body holds no certificate in PEM or DER: {e.Message}");
        }

        if (certificates.Count is 0 or > MaxAtOnce)
            return Bad($"The body holds {certificates.Count} certificates: 1 to {MaxAtOnce} are expected.");
        if (certificates.FirstOrDefault(static c => !c.Extensions.OfType<X509BasicConstraintsExtension>().Any(static b => b.CertificateAuthority)) is { } leaf)
            return Bad($"'{leaf.Subject}' is not the certificate of an authority, so it vouches for nobody.");

        var now = clock.GetUtcNow();
        foreach (var certificate in certificates)
        {
            var record = new TrustedCertificate { Thumbprint = ThumbprintOf(certificate), Der = certificate.RawData, AddedAt = now };
            var first = await store.TryAddAsync(record, cancel);
            var at = first ? now : (await store.FindAsync(record.Thumbprint, cancel))?.Value.AddedAt ?? now;
            await events.AddAsync(EventRecord.Of(EventRecord.Service, at, EventTypes.TrustChanged, $"'{certificate.Subject}' is trusted to vouch for TPMs, by {context.CallerName()}.", record.Thumbprint), cancel);
        }

        trust.Forget();
        return Answer.Json(StatusCodes.Status200OK, new TrustList([.. certificates.Select(static c => Describe(new TrustedEntry(c, "store")))]), ApiJson.Default.TrustList);
    }

    private static async Task<IResult> ListAsync(TrustStore trust, CancellationToken cancel) => Answer.Json(
        StatusCodes.Status200OK, new TrustList([.. (await trust.AllAsync(cancel)).Select(Describe)]), ApiJson.Default.TrustList);

    private static async Task<IResult> RemoveAsync(
        string thumbprint, HttpContext context, IRecordStore<TrustedCertificate> store, TrustStore trust, IEventStore events, TimeProvider clock, CancellationToken cancel)
    {
        var key = thumbprint.Length == SHA256.HashSizeInBytes * 2 && thumbprint.All(char.IsAsciiHexDigit) ? thumbprint.ToLowerInvariant() : null;
        while (key is not null && await store.FindAsync(key, cancel) is { } stored)
        {
            using var certificate = X509CertificateLoader.LoadCertificate(stored.Value.Der.Span);
            await events.AddAsync(EventRecord.Of(EventRecord.Service, clock.GetUtcNow(), EventTypes.TrustChanged, $"'{certificate.Subject}' is not trusted any more, by {context.CallerName()}.", key), cancel);
            if (!await store.TryDeleteAsync(stored, cancel))
                continue;
            trust.Forget();
            return TypedResults.NoContent();
        }

        return new Refusal(StatusCodes.Status404NotFound, "no_such_certificate", "No certificate of that SHA-256 thumbprint was added here.")
        { Hint = "keylime trust list (GET /v1/trust) tells which there are; those of the folder are removed there." };
    }

    private static TrustedCertificateSummary Describe(TrustedEntry entry) => new(
        ThumbprintOf(entry.Certificate), entry.Certificate.Subject, entry.Certificate.Issuer,
        entry.Certificate.NotBefore.ToUniversalTime(), entry.Certificate.NotAfter.ToUniversalTime(),
        entry.Certificate.SubjectName.RawData.AsSpan().SequenceEqual(entry.Certificate.IssuerName.RawData))
    { Source = entry.Source };

    private static string ThumbprintOf(X509Certificate2 certificate) => Convert.ToHexStringLower(SHA256.HashData(certificate.RawData));

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_certificate", detail);
}

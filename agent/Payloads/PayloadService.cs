using System.Net;
using System.Security.Cryptography;
using Keylime.Protocol;
using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Payloads;

/// <summary>Who asks: the node, and its token of now.</summary>
internal sealed record PayloadCaller(AgentId Id, Func<string?> Token);

/// <summary>What the service says about payloads. An answer that does not fit is none.</summary>
internal sealed class PayloadService(ServiceClient service, TimeProvider time)
{
    private const int MaxOffers = 256;
    private const int MaxPart = 4 * 1024 * 1024;
    private const int MaxReleaseId = 128;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30); // an attestation waits for these answers

    /// <summary>The payloads that are meant for this machine.</summary>
    /// <exception cref="PayloadException">What is offered cannot be.</exception>
    public async Task<IReadOnlyList<PayloadOffer>> OffersAsync(PayloadCaller caller, CancellationToken cancel)
    {
        var answer = await SendAsync(HttpMethod.Get, Root(caller), null, caller, static s => s == HttpStatusCode.OK, cancel);
        var offers = ServiceClient.Read(answer, PayloadJson.Default.PayloadOffers, "payloads").Payloads;
        if (offers.Count > MaxOffers)
            throw new PayloadException($"{offers.Count} payloads are offered, {MaxOffers} at most are taken.");
        foreach (var offer in offers)
        {
            if (offer is null || !PayloadName.IsValid(offer.Name))
                throw new PayloadException($"A payload is offered whose name is none, so nothing is taken. {PayloadName.Expected}");
            if (offer is { Version: < 1 } or { Size: < 0 })
                throw new PayloadException($"Payload '{offer.Name}' is offered in version {offer.Version} with {offer.Size} bytes.");
        }

        return offers.DistinctBy(static o => o.Name).Count() == offers.Count ? offers : throw new PayloadException("A payload is offered twice.");
    }

    /// <summary>Asks for a payload's key.</summary>
    /// <exception cref="ServiceRefusedException">It is not released.</exception>
    /// <exception cref="PayloadException">The answer is not about this offer.</exception>
    public async Task<ReleasedPayload> ReleaseAsync(PayloadCaller caller, PayloadOffer offer, byte[] challenge, CancellationToken cancel)
    {
        var request = ServiceClient.Json(new ReleaseRequest(offer.Version, challenge), PayloadJson.Default.ReleaseRequest, jsonApi: false);
        var answer = await SendAsync(HttpMethod.Post, $"{Root(caller)}/{offer.Name}/release", request, caller, static s => s == HttpStatusCode.OK, cancel);
        var released = ServiceClient.Read(answer, PayloadJson.Default.ReleasedPayload, $"release of {offer.Name}");
        return Objection(released, offer) is { } objection ? throw new PayloadException($"The release does not fit what was asked for: {objection}.") : released;
    }

    /// <summary>The ciphertext of a release.</summary>
    public PartStream Open(PayloadCaller caller, OpenedRelease release) =>
        new(service, $"{Root(caller)}/{release.Offer.Name}/versions/{release.Offer.Version}/parts", release.Parts, caller.Token, time);

    /// <summary>Tells what became of a payload. A service that does not want to know is not asked again.</summary>
    public async Task ReportAsync(PayloadCaller caller, string name, PayloadReport report, CancellationToken cancel)
    {
        var content = ServiceClient.Json(report, PayloadJson.Default.PayloadReport, jsonApi: false);
        await SendAsync(HttpMethod.Post, $"{Root(caller)}/{name}/report", content, caller,
            static s => (int)s is >= 200 and < 300 || s is HttpStatusCode.BadRequest or HttpStatusCode.NotFound or HttpStatusCode.Conflict or HttpStatusCode.Gone, cancel);
    }

    private static string Root(PayloadCaller caller) => $"v3.0/agents/{caller.Id}/payloads";

    private async Task<ServiceClient.Answer> SendAsync(HttpMethod method, string path, HttpContent? content, PayloadCaller caller, Func<HttpStatusCode, bool> wanted, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(Patience);
        try
        {
            return await service.SendAsync(method, path, content, caller.Token(), wanted, limit.Token);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new HttpRequestException($"{method} {path}: no answer within {Patience.TotalSeconds} s.", e);
        }
    }

    private static string? Objection(ReleasedPayload released, PayloadOffer offer)
    {
        if (released.Name != offer.Name || released.Version != offer.Version || released.Size != offer.Size)
            return $"it is of '{released.Name}', version {released.Version}, {released.Size} bytes; '{offer.Name}', version {offer.Version}, {offer.Size} bytes were offered";
        if (released.Release.Length is 0 or > MaxReleaseId)
            return "it has no number";
        if (released.Parts.Any(static p => p is not { Size: > 0 and <= MaxPart, Digest.Length: 2 * SHA256.HashSizeInBytes } || !p.Digest.All(char.IsAsciiHexDigit)))
            return $"each part is to have 1 to {MaxPart} bytes and a SHA-256";
        var (length, expected) = (released.Parts.Sum(static p => (long)p.Size), PayloadCipher.SealedLength(offer.Size));
        return length == expected ? null : $"its parts are {length} bytes, {expected} are expected for {offer.Size}";
    }
}

using System.Security.Cryptography.X509Certificates;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Functions.Registrar;

/// <summary>How well a TPM is known, or why it is not taken.</summary>
internal abstract record Identified
{
    private Identified()
    {
    }

    /// <param name="Certificate">Of the endorsement key, DER; empty where there is none.</param>
    public sealed record Known(IdentityLevel Level, ReadOnlyMemory<byte> Certificate, string Detail) : Identified
    {
        public string? Issuer { get; init; }

        public TpmMaker? Maker { get; init; }
    }

    /// <param name="Malformed">The claim itself is wrong, as opposed to one that nobody trusts.</param>
    public sealed record Refused(Finding Finding, bool Malformed) : Identified;
}

/// <summary>Finds out who vouches for a TPM: its maker by a certificate, the device's maker by an IAK, the operator by a list, or nobody.</summary>
internal sealed class Identification(
    TrustStore trust, IRecordStore<KnownEndorsementKey> list, IssuerFetch fetch, ServiceOptions options, TimeProvider clock)
{
    private const int MaxFetches = 4;

    public async Task<Identified> IdentifyAsync(AgentId agent, RegisterRequest request, PublicArea ek, PublicArea ak, CancellationToken cancel)
    {
        var trusted = await trust.CertificatesAsync(cancel);
        var endorsement = await CheckCertificateAsync(ek, request.Ekcert, trusted, cancel);
        if (endorsement is EndorsementResult.Rejected { Finding: var wrong })
            return new Identified.Refused(wrong, Malformed: true);

        string? deviceRoot = null;
        if (request is { IakTpm: { } iak, IdevidTpm: { } idevid, IakAttest: { } attest, IakSign: { } sign })
        {
            var claim = new DeviceIdentityClaim(iak, request.IakCert, idevid, request.IdevidCert, attest, sign);
            if (DeviceIdentity.Check(claim, ak.ComputeName(), agent.ToString(), trusted, clock.GetUtcNow(), out deviceRoot) is { } finding)
                return new Identified.Refused(finding, Malformed: finding.Code != FindingCodes.DeviceIdentityUntrusted);
        }
        else if (request is not { IakTpm: null, IdevidTpm: null, IakAttest: null, IakSign: null, IakCert: null, IdevidCert: null })
        {
            return new Identified.Refused(new Finding(FindingCodes.DeviceIdentityMalformed, "iak_tpm, idevid_tpm, iak_attest and iak_sign go together, with iak_cert and idevid_cert."), Malformed: true);
        }

        var known = await RankAsync(agent, ek, endorsement, deviceRoot, cancel);
        return options.Accepts(known.Level)
            ? known
            : new Identified.Refused(new Finding(FindingCodes.EndorsementUntrusted, $"{known.Detail} An identity of '{IdentityNames.Of(known.Level)}' is not accepted here."), Malformed: false);
    }

    private async Task<Identified.Known> RankAsync(AgentId agent, PublicArea ek, EndorsementResult endorsement, string? deviceRoot, CancellationToken cancel)
    {
        var (certificate, why) = endorsement switch
        {
            EndorsementResult.Chained chained => (chained.Leaf, $"Chains to '{chained.Root}'."),
            EndorsementResult.Unchained unchained => (unchained.Leaf, unchained.Why),
            _ => ([], "No endorsement certificate was sent."),
        };
        if (endorsement is EndorsementResult.Chained { Issuer: var issuer, Maker: var maker })
            return new Identified.Known(IdentityLevel.EndorsementCertificate, certificate, why) { Issuer = issuer, Maker = maker };
        if (deviceRoot is not null)
            return new Identified.Known(IdentityLevel.InitialAttestationKey, certificate, $"The device's IAK chains to '{deviceRoot}'.");

        var hash = Convert.ToHexStringLower(EndorsementKeys.SpkiHash(ek));
        return await list.FindAsync(hash, cancel) is { Value: var entry } && (entry.Agent is null || entry.Agent == agent.ToString())
            ? new Identified.Known(IdentityLevel.EndorsementList, certificate, $"On the operator's list{(entry.Note is { } note ? $" ({note})" : "")}; no trusted certificate: {why}")
            : new Identified.Known(IdentityLevel.EndorsementKey, certificate, why);
    }

    private async Task<EndorsementResult> CheckCertificateAsync(PublicArea ek, string? ekcert, IReadOnlyList<X509Certificate2> trusted, CancellationToken cancel)
    {
        var at = clock.GetUtcNow();
        var (completed, start) = (trusted, clock.GetTimestamp());
        for (var fetches = 0; ; fetches++)
        {
            var result = EndorsementKeys.Check(ek, ekcert, completed, at);
            if (result is not EndorsementResult.Unchained { IssuerUrls: { Count: > 0 } urls } || fetches == MaxFetches)
                return result;
            var fetched = await fetch.FetchAsync(urls, start, cancel);

            // A root that came over the network is a stranger's: only what needs somebody else's signature is taken.
            var fresh = fetched.Where(f => !f.SubjectName.RawData.AsSpan().SequenceEqual(f.IssuerName.RawData) && !completed.Any(c => c.RawDataMemory.Span.SequenceEqual(f.RawDataMemory.Span))).ToArray();
            if (fresh.Length == 0)
                return result;
            completed = [.. completed, .. fresh];
        }
    }
}

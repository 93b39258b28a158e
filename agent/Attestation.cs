using System.Collections.Immutable;
using System.Net;
using System.Text.Json;
using Keylime.Protocol;
using Keylime.Protocol.Notices;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>What the service made of one attestation.</summary>
/// <param name="Evaluation"><c>pass</c>, <c>fail</c>, or <see langword="null"/> where the service does not tell, as upstream does not.</param>
/// <param name="Next">How long until the next one, if the service said.</param>
internal sealed record AttestationOutcome(string? Evaluation, IReadOnlyList<AttestationFinding> Findings, TimeSpan? Next)
{
    /// <summary>What the service tells of other machines, if it was asked and knows of such a thing.</summary>
    public NoticeBatch? Notices { get; init; }

    /// <summary>How long the token lives from now on, if the service said.</summary>
    public TimeSpan? TokenLifetime { get; init; }

    /// <summary>A digest of the payloads that are meant for this machine; <see langword="null"/> where there are none.</summary>
    public string? Payloads { get; init; }
}

/// <summary>One attestation: says what can be proven, proves what is asked for.</summary>
internal sealed class Attestation(ServiceClient verifier, AgentId id, ImaLogFile ima, byte[] uefiLog, DateTimeOffset bootTime)
{
    private const int QuoteTries = 5;
    private const int MaxInterval = 86_400;

    /// <summary>How far notices were dealt with; <see langword="null"/> where they are not wanted.</summary>
    public Func<long?> NoticesAfter { get; init; } = static () => null;

    // What the service has asked with its last answer; it is answered once.
    private Asked? _asked;

    public async Task<AttestationOutcome> RunAsync(TpmClient tpm, MachineFacts facts, LoadedKey key, string token, CancellationToken cancel)
    {
        if (Interlocked.Exchange(ref _asked, null) is { } inAdvance)
        {
            try
            {
                return await AnswerAsync(inAdvance, tpm, key, token, cancel);
            }
            catch (ServiceRefusedException e) when (IsOver(e))
            {
                // It has been too long, or something else is wanted by now: ask.
            }
            catch (ServiceRefusedException e) when (e.Status is HttpStatusCode.Unauthorized or HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable)
            {
                _asked = inAdvance; // with another token, or a little later, it is as good
                throw;
            }
        }

        // A request is made anew for each try: its counts, and the challenge that comes back, are never old.
        var path = $"v3.0/agents/{id}/attestations";
        var offered = new AttestationAttributes { EvidenceSupported = Offer(facts, key, ima.Refresh()), SystemInfo = new SystemInfo(bootTime) };
        var answer = await verifier.SendAsync(HttpMethod.Post, path, Body(offered), token, static s => s == HttpStatusCode.Created, cancel);
        var asked = ServiceClient.Read(answer, UpstreamJson.Default.DocumentAttestationAttributes, "attestation");
        var target = verifier.PathOf(answer.Location, path);

        return await AnswerAsync(new Asked(target, asked.Data.Attributes.EvidenceRequested ?? [], asked.Meta?.NextOffered is true), tpm, key, token, cancel);
    }

    private async Task<AttestationOutcome> AnswerAsync(Asked asked, TpmClient tpm, LoadedKey key, string token, CancellationToken cancel)
    {
        var content = await CollectAsync(tpm, key, asked, cancel);
        var answer = await verifier.SendAsync(HttpMethod.Patch, asked.Path, content, token, static s => s == HttpStatusCode.Accepted, cancel);
        return Outcome(answer);
    }

    // Whatever is against this attestation and not against this machine.
    private static bool IsOver(ServiceRefusedException refusal) =>
        refusal.Status is null or HttpStatusCode.NotFound
        || refusal is { Status: HttpStatusCode.Forbidden, ErrorCode: "challenges_expired" or "old_attestation" or "evidence_immutable" };

    // Upstream echoes the evidence, which may be megabytes: an answer that is too long, or that cannot be read, was an acceptance all the same.
    private AttestationOutcome Outcome(ServiceClient.Answer answer)
    {
        try
        {
            var document = answer.Body is null ? null : JsonSerializer.Deserialize(answer.Body, UpstreamJson.Default.DocumentAttestationAttributes);
            var attributes = document?.Data.Attributes;
            TimeSpan? next = document?.Meta?.SecondsToNextAttestation is { } seconds and >= 0 ? TimeSpan.FromSeconds(Math.Min(seconds, MaxInterval)) : null;
            var evaluation = attributes?.Evaluation is "pending" ? null : attributes?.Evaluation;
            _asked = Next(document?.Meta?.NextAttestation);
            return new AttestationOutcome(evaluation, attributes?.Findings ?? [], next)
            {
                TokenLifetime = document?.Meta?.SecondsToTokenExpiry is { } lives and > 0 ? TimeSpan.FromSeconds(Math.Min(lives, MaxInterval)) : null,
                Payloads = document?.Meta?.Payloads,
                Notices = document?.Meta is { NoticesNext: { } behind } meta ? new NoticeBatch(meta.Notices ?? [], behind) { Lost = meta.NoticesLost is true } : null,
            };
        }
        catch (JsonException e)
        {
            Log.Warning($"The answer to the evidence cannot be read: {e.Message}");
            return new AttestationOutcome(null, [], null);
        }
    }

    private Asked? Next(Resource<AttestationAttributes>? next)
    {
        if (next is not { Links.Self: { } self, Attributes.EvidenceRequested: { Count: > 0 } wanted } || !Uri.TryCreate(self, UriKind.RelativeOrAbsolute, out var link))
            return null;
        try
        {
            return new Asked(verifier.PathOf(link, "/"), wanted, NextOffered: true);
        }
        catch (ServiceRefusedException e)
        {
            Log.Warning($"What comes next is asked for anew: {e.Message}");
            return null;
        }
    }

    private List<EvidenceItem> Offer(MachineFacts facts, LoadedKey key, long imaLines) =>
    [
        new EvidenceItem(EvidenceItem.Certification, EvidenceItem.TpmQuote)
        {
            Capabilities = new EvidenceCapabilities
            {
                ComponentVersion = "2.0",
                HashAlgorithms = facts.Hashes,
                SignatureSchemes = facts.Schemes,
                AvailableSubjects = facts.Banks.ToDictionary(static b => b.Bank.ProtocolName()!, static b => (IReadOnlyList<int>?)[.. b.Pcrs]),
                CertificationKeys = [Describe(key)],
            },
        },
        new EvidenceItem(EvidenceItem.Log, EvidenceItem.UefiLog)
        {
            Capabilities = new EvidenceCapabilities
            {
                EvidenceVersion = "2.1",
                EntryCount = UefiLog.CountEvents(uefiLog),
                SupportsPartialAccess = false,
                Appendable = false,
                Formats = [ChosenParameters.OctetStream],
            },
        },
        new EvidenceItem(EvidenceItem.Log, EvidenceItem.ImaLog)
        {
            Capabilities = new EvidenceCapabilities
            {
                EntryCount = imaLines,
                SupportsPartialAccess = true,
                Appendable = true,
                Formats = [ChosenParameters.Gzip, ChosenParameters.OctetStream, ChosenParameters.PlainText],
            },
        },
    ];

    private static CertificationKey Describe(LoadedKey key) => new()
    {
        KeyClass = "asymmetric",
        KeyAlgorithm = key.Public.Type.ProtocolName(),
        KeySize = key.Public switch
        {
            PublicArea.Rsa rsa => rsa.KeyBits,
            PublicArea.Ecc { Curve: TpmCurve.NistP521 } => 521,
            PublicArea.Ecc ecc => ecc.Curve.CoordinateSize() * 8,
            _ => throw new System.Diagnostics.UnreachableException(),
        },
        ServerIdentifier = "ak",
        LocalIdentifier = Convert.ToHexStringLower(key.Name.Span),
        Public = key.Public.Encode(),
        AllowableHashAlgorithms = [key.Public.Scheme.Hash.ProtocolName()!],
        AllowableSignatureSchemes = [key.Public.Scheme.Algorithm.ProtocolName()!],
    };

    private async Task<EvidenceContent> CollectAsync(TpmClient tpm, LoadedKey key, Asked asked, CancellationToken cancel)
    {
        EvidenceData? quote = null;
        var order = new List<string>();
        var logs = new List<LogEvidence>();
        foreach (var item in asked.Evidence.OrderBy(static i => i.EvidenceType == EvidenceItem.TpmQuote ? 0 : 1))
        {
            switch (item.EvidenceType)
            {
                // The quote comes first, so that the list that is read behind it is never behind it.
                case EvidenceItem.TpmQuote when quote is null:
                    quote = await QuoteAsync(tpm, key, item.ChosenParameters, cancel);
                    break;
                case EvidenceItem.ImaLog when !logs.Exists(static l => l.Type == EvidenceItem.ImaLog):
                    logs.Add(Ima(item.ChosenParameters));
                    break;
                case EvidenceItem.UefiLog when !logs.Exists(static l => l.Type == EvidenceItem.UefiLog):
                    logs.Add(new LogEvidence(EvidenceItem.UefiLog, null, ChosenParameters.OctetStream, () => [uefiLog]));
                    break;
                default:
                    Log.Warning($"The service asks for '{item.EvidenceType}', which this agent does not have.");
                    break;
            }
        }

        if (quote is null)
            throw new ServiceRefusedException("attestation", null, null, "the service asks for no quote");

        order.AddRange(asked.Evidence.Select(static i => i.EvidenceType).Distinct()
            .Where(t => t == EvidenceItem.TpmQuote || logs.Exists(l => l.Type == t)));
        return new EvidenceContent(quote, order, logs, asked.NextOffered, NoticesAfter());
    }

    private LogEvidence Ima(ChosenParameters? parameters)
    {
        var lines = ima.Refresh();
        var from = parameters?.StartingOffset ?? 0;
        if (from > lines || from < 0)
            throw new ServiceRefusedException("attestation", null, null, $"the service asks for the measurement list from line {from}, and it has {lines}");

        var to = parameters?.EntryCount is { } most and >= 0 ? Math.Min(lines, from + most) : lines;
        return new LogEvidence(EvidenceItem.ImaLog, to - from, parameters?.Format, () => ima.ReadLines(from, to));
    }

    private static async Task<EvidenceData> QuoteAsync(TpmClient tpm, LoadedKey key, ChosenParameters? asked, CancellationToken cancel)
    {
        var selection = Selection(key, asked);
        for (var i = 0; i < QuoteTries; i++)
        {
            // PCR 10 may move between the two commands; the values have to be those that were signed.
            var values = await tpm.PcrReadAsync(selection, cancel);
            var quote = await tpm.QuoteAsync(key.Handle, asked!.Challenge, selection, cancel);
            if (IsOver(quote, values, key.Public.Scheme.Hash))
            {
                return new EvidenceData
                {
                    SubjectData = values.Encode(),
                    Message = quote.Message.ToArray(),
                    Signature = quote.Signature.ToArray(),
                };
            }
        }

        throw new IOException($"The PCRs changed during each of {QuoteTries} quotes.");
    }

    private static bool IsOver(SignedStatement quote, PcrBlob values, TpmAlgorithm hash)
    {
        using var digest = System.Security.Cryptography.IncrementalHash.CreateHash(hash.HashName());
        foreach (var value in values.Values)
            digest.AppendData(value.Span);
        return QuoteStatement.Parse(quote.Message).PcrDigest.Span.SequenceEqual(digest.GetHashAndReset());
    }

    private static PcrSelection Selection(LoadedKey key, ChosenParameters? asked)
    {
        var scheme = key.Public.Scheme;
        if (asked?.Challenge is not { Length: > 0 })
            throw new ServiceRefusedException("attestation", null, null, "the service asks for a quote without a challenge");
        if (asked.SignatureScheme is { } name && name != scheme.Algorithm.ProtocolName() || asked.HashAlgorithm is { } hash && hash != scheme.Hash.ProtocolName())
            throw new ServiceRefusedException("attestation", null, null, $"the service asks for {asked.SignatureScheme} with {asked.HashAlgorithm}; the key signs {scheme.Algorithm.ProtocolName()} with {scheme.Hash.ProtocolName()}");

        // One bank: the one with PCRs in it; where there are several, the one of the hash that was asked for.
        var banks = (asked.SelectedSubjects ?? ImmutableDictionary<string, IReadOnlyList<int>?>.Empty).Where(static b => b.Value is { Count: > 0 }).ToList();
        var chosen = banks.Count == 1 ? banks[0] : banks.FirstOrDefault(b => b.Key == asked.HashAlgorithm);
        if (chosen.Value is null || !TpmAlgorithms.TryFromProtocolName(chosen.Key, out var bank) || chosen.Value.Any(static p => p is < 0 or > 23))
            throw new ServiceRefusedException("attestation", null, null, "the service asks for a quote over no PCR of a bank");
        return new PcrSelection(bank, PcrSet.Of([.. chosen.Value]));
    }

    private static HttpContent Body(AttestationAttributes attributes) => ServiceClient.Json(
        new Document<AttestationAttributes>(new Resource<AttestationAttributes>("attestation", attributes)),
        UpstreamJson.Default.DocumentAttestationAttributes,
        jsonApi: true);

    /// <param name="Path">Where the evidence goes.</param>
    /// <param name="NextOffered">See <see cref="DocumentMeta.NextOffered"/>.</param>
    private sealed record Asked(string Path, IReadOnlyList<EvidenceItem> Evidence, bool NextOffered);
}

using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Load;

/// <summary>How one try to attest ended.</summary>
internal enum AttestEnd
{
    Passed,

    /// <summary>The service judged, and the verdict is no pass: what is measured does not work.</summary>
    Failed,

    /// <summary>429: the service does not want it yet.</summary>
    Premature,

    /// <summary>503: the service has too much to do.</summary>
    TurnedAway,

    /// <summary>401: a new session is wanted.</summary>
    NoSession,

    /// <summary>The connection ended without an answer.</summary>
    Cut,

    /// <summary>Any other answer.</summary>
    Broken,
}

/// <param name="Wait">What the service says to wait before the next try, or the next attestation.</param>
/// <param name="Why">Of an end that is no pass.</param>
internal readonly record struct AttestOutcome(AttestEnd End, TimeSpan Wait, string Why = "");

/// <summary>One machine: a TPM that really signs, a measurement list that its PCR 10 is really extended with, and what its agent says to the service.</summary>
/// <param name="format">Of its measurement list, of those that the service knows.</param>
internal sealed class LoadNode(string id, SoftwareTpm tpm, MeasuredList list, string format)
{
    private static readonly string[] Hashes = ["sha256", "sha384", "sha512"];
    private static readonly string[] Schemes = ["rsassa", "rsapss", "ecdsa"];
    private static readonly IReadOnlyDictionary<string, IReadOnlyList<int>?> Banks = new Dictionary<string, IReadOnlyList<int>?> { ["sha256"] = [.. Enumerable.Range(0, 24)] };

    private readonly byte[] _publicArea = tpm.AttestationKey.Encode();
    private readonly string _name = Convert.ToHexStringLower(tpm.AttestationKey.ComputeName());
    private readonly SortedSet<long> _own = []; // numbers of the lines that no other machine has
    private DateTimeOffset _bootTime = new(2026, 11, 23, 8, 0, 0, TimeSpan.Zero);
    private long _lines;
    private Asked? _next;
    private long _tick = Environment.TickCount64;

    private sealed record Asked(string Location, IReadOnlyList<EvidenceItem> Items);

    public string Id => id;

    public SoftwareTpm Tpm => tpm;

    public string? Token { get; set; }

    /// <summary>Whether it uses the challenge that came with the last answer, where there was one.</summary>
    public bool OneTrip { get; set; }

    /// <summary>One at a time, as an agent does.</summary>
    public SemaphoreSlim Turn { get; } = new(1);

    /// <summary>By the service's word, nothing is wanted before.</summary>
    public long NotBefore { get; set; }

    /// <summary>The machine has booted, and its list has so many lines, which all machines have.</summary>
    public void Boot(long lines)
    {
        _lines = lines;
        tpm.Set(TpmAlgorithm.Sha256, 10, list.ValueAfter(lines));
    }

    /// <summary>The machine went down and came up again, and has measured so many lines, of which the last is its own.</summary>
    public void Reboot(long lines)
    {
        tpm.Reset();
        _own.Clear();
        _next = null;
        _bootTime = _bootTime.AddHours(1);
        Boot(lines - 1);
        Measure(1);
    }

    /// <summary>New lines; the first of them is its own.</summary>
    public void Measure(int lines)
    {
        for (var i = 0; i < lines; i++, _lines++)
        {
            if (i == 0)
                _own.Add(_lines);
            list.Extend(tpm, _lines, i == 0 ? id : null);
        }
    }

    /// <summary>Asks what to prove, unless it knows, and proves it.</summary>
    public async Task<AttestOutcome> AttestAsync(LoadClient client, CancellationToken cancel)
    {
        try
        {
            var (asked, refused) = (_next, default(AttestOutcome?));
            _next = null;
            if (asked is null)
                (asked, refused) = await AskAsync(client, cancel);
            if (asked is null)
                return refused!.Value;
            var outcome = await ProveAsync(client, asked, cancel);
            if (OneTrip && outcome.End is AttestEnd.Premature or AttestEnd.TurnedAway or AttestEnd.NoSession)
                _next = asked; // it is as good later
            return outcome;
        }
        catch (HttpRequestException e)
        {
            return new AttestOutcome(AttestEnd.Cut, TimeSpan.Zero, e.InnerException?.Message ?? e.Message);
        }
    }

    private async Task<(Asked? Asked, AttestOutcome? Refused)> AskAsync(LoadClient client, CancellationToken cancel)
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(new Document<AttestationAttributes>(new("attestation", Offer())), UpstreamJson.Default.DocumentAttestationAttributes);
        var answer = await client.SendAsync(HttpMethod.Post, $"/v3.0/agents/{id}/attestations", LoadClient.Json(body), Token, cancel);
        if (answer.Status != 201)
            return (null, Refused(answer));
        var document = JsonSerializer.Deserialize(answer.Body, UpstreamJson.Default.DocumentAttestationAttributes)!;
        return (new Asked(answer.Location!, document.Data.Attributes.EvidenceRequested!), null);
    }

    private async Task<AttestOutcome> ProveAsync(LoadClient client, Asked asked, CancellationToken cancel)
    {
        var quote = asked.Items[0].ChosenParameters!;
        var (bank, pcrs) = quote.SelectedSubjects!.Single(static s => s.Value is not null);
        if (!TpmAlgorithms.TryFromProtocolName(bank, out var algorithm))
            throw new InvalidOperationException($"The service asks for the bank '{bank}'.");
        Tick();
        var (message, signature, values) = tpm.Quote(quote.Challenge, new PcrSelection(algorithm, PcrSet.Of([.. pcrs!])));
        var log = asked.Items.FirstOrDefault(static i => i.EvidenceType == EvidenceItem.ImaLog)?.ChosenParameters;
        var from = log?.StartingOffset ?? 0;
        var (lines, inflated) = log is null ? (null, null) : Encode(Text(from), log.Format);
        using var body = new EvidenceBody(message, signature, values, lines, _lines - from, inflated, OneTrip);
        var answer = await client.SendAsync(HttpMethod.Patch, asked.Location, body, Token, cancel);
        if (answer.Status != 202)
            return Refused(answer);

        var document = JsonSerializer.Deserialize(answer.Body, UpstreamJson.Default.DocumentAttestationAttributes)!;
        if (OneTrip)
            _next = NextOf(document);
        var wait = TimeSpan.FromSeconds(document.Meta?.SecondsToNextAttestation ?? 1);
        return document.Data.Attributes is { Evaluation: "pass" }
            ? new AttestOutcome(AttestEnd.Passed, wait)
            : new AttestOutcome(AttestEnd.Failed, wait, document.Data.Attributes.Findings is [var finding, ..] ? $"{finding.Code}: {finding.Detail}" : "no finding");
    }

    private static Asked? NextOf(Document<AttestationAttributes> answer) =>
        answer.Meta?.NextAttestation is { Links.Self: { } self, Attributes.EvidenceRequested: { Count: > 0 } items } ? new Asked(self, items) : null;

    // A TPM's clock goes on by itself, and the service looks at it where it has asked in advance.
    private void Tick()
    {
        var now = Environment.TickCount64;
        tpm.Clock = tpm.Clock with { Milliseconds = tpm.Clock.Milliseconds + (ulong)(now - _tick) };
        _tick = now;
    }

    private List<ReadOnlyMemory<byte>> Text(long from)
    {
        var pieces = new List<ReadOnlyMemory<byte>>();
        foreach (var own in _own.GetViewBetween(from, long.MaxValue))
        {
            pieces.AddRange(list.Text(from, own));
            pieces.Add(MeasuredList.OwnText(id, own));
            from = own + 1;
        }

        pieces.AddRange(list.Text(from, _lines));
        return pieces;
    }

    private static (List<ReadOnlyMemory<byte>> Pieces, long? Inflated) Encode(List<ReadOnlyMemory<byte>> escaped, string? format)
    {
        if (format is not (ChosenParameters.Gzip or ChosenParameters.OctetStream))
            return (escaped, null);
        var text = Encoding.ASCII.GetBytes(string.Concat(escaped.Select(static p => Encoding.ASCII.GetString(p.Span))).Replace("\\n", "\n", StringComparison.Ordinal));
        if (format == ChosenParameters.OctetStream)
            return ([Encoding.ASCII.GetBytes(Convert.ToBase64String(text))], null);
        using var member = new MemoryStream();
        using (var gzip = new GZipStream(member, CompressionLevel.Fastest, leaveOpen: true))
            gzip.Write(text);
        return ([Encoding.ASCII.GetBytes(Convert.ToBase64String(text.Length == 0 ? CompressedLog.Empty : member.GetBuffer().AsSpan(0, (int)member.Length)))], text.Length);
    }

    private static AttestOutcome Refused(LoadAnswer answer) => new(
        answer.Status switch { 429 => AttestEnd.Premature, 503 => AttestEnd.TurnedAway, 401 => AttestEnd.NoSession, _ => AttestEnd.Broken },
        answer.RetryAfter, $"{answer.Status} {Encoding.UTF8.GetString(answer.Body)}");

    private AttestationAttributes Offer()
    {
        var (scheme, hash) = (tpm.AttestationKey.Scheme.Algorithm.ProtocolName()!, tpm.AttestationKey.Scheme.Hash.ProtocolName()!);
        return new AttestationAttributes
        {
            SystemInfo = new SystemInfo(_bootTime),
            EvidenceSupported =
            [
                new EvidenceItem(EvidenceItem.Certification, EvidenceItem.TpmQuote)
                {
                    Capabilities = new EvidenceCapabilities
                    {
                        ComponentVersion = "2.0",
                        HashAlgorithms = Hashes,
                        SignatureSchemes = Schemes,
                        AvailableSubjects = Banks,
                        CertificationKeys =
                        [
                            new CertificationKey
                            {
                                KeyClass = "asymmetric",
                                KeyAlgorithm = tpm.AttestationKey.Type.ProtocolName(),
                                KeySize = tpm.AttestationKey is PublicArea.Rsa rsa ? rsa.KeyBits : 256,
                                ServerIdentifier = "ak",
                                LocalIdentifier = _name,
                                Public = _publicArea,
                                AllowableHashAlgorithms = [hash],
                                AllowableSignatureSchemes = [scheme],
                            },
                        ],
                    },
                },
                new EvidenceItem(EvidenceItem.Log, EvidenceItem.ImaLog)
                {
                    Capabilities = new EvidenceCapabilities { EntryCount = _lines, SupportsPartialAccess = true, Appendable = true, Formats = [format] },
                },
            ],
        };
    }
}

using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Keylime.Protocol.Upstream;

namespace Keylime.Agent;

/// <summary>One log in the evidence, given chunk by chunk.</summary>
/// <param name="Type"><c>ima_log</c> or <c>uefi_log</c>.</param>
/// <param name="EntryCount">Whole lines; <see langword="null"/> where the log does not count.</param>
/// <param name="Format">How it goes out: <see cref="ChosenParameters.OctetStream"/> in base64, <see cref="ChosenParameters.Gzip"/> compressed and in base64, anything else as JSON text.</param>
internal sealed record LogEvidence(string Type, long? EntryCount, string? Format, Func<IEnumerable<ReadOnlyMemory<byte>>> Chunks);

/// <summary>
/// The body of the evidence, written straight to the network: a measurement list of a hundred thousand lines is never in memory. Its length is
/// found by writing it to nowhere first, because some servers (the Azure Functions host among them) take no body without one.
/// </summary>
internal sealed class EvidenceContent : HttpContent
{
    private readonly EvidenceData _quote;
    private readonly IReadOnlyList<string> _order;
    private readonly IReadOnlyList<LogEvidence> _logs;
    private readonly bool _nextWanted;
    private readonly long? _noticesAfter;
    private readonly long _length;
    private long? _inflated; // bytes of the log that goes out compressed

    /// <param name="order">The evidence types in the order in which they were asked for.</param>
    /// <param name="nextWanted">See <see cref="DocumentMeta.NextWanted"/>.</param>
    /// <param name="noticesAfter">See <see cref="DocumentMeta.NoticesAfter"/>.</param>
    public EvidenceContent(EvidenceData quote, IReadOnlyList<string> order, IReadOnlyList<LogEvidence> logs, bool nextWanted, long? noticesAfter)
    {
        (_quote, _order, _logs, _nextWanted, _noticesAfter) = (quote, order, logs, nextWanted, noticesAfter);
        using var counter = new CountingStream();
        Write(counter);
        _length = counter.Count;
        if (_inflated is { } bytes)
            Headers.Add(CompressedLog.LengthHeader, bytes.ToString(CultureInfo.InvariantCulture));
        Headers.ContentType = new MediaTypeHeaderValue("application/vnd.api+json");
    }

    protected override bool TryComputeLength(out long length)
    {
        length = _length;
        return true;
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
        SerializeToStreamAsync(stream, context, CancellationToken.None);

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
    {
        using var json = new Utf8JsonWriter(stream);
        foreach (var _ in Steps(json))
            await json.FlushAsync(cancellationToken);
    }

    private void Write(Stream stream)
    {
        using var json = new Utf8JsonWriter(stream);
        foreach (var _ in Steps(json))
            json.Flush();
    }

    // Writes the document; each step is a good moment to flush.
    private IEnumerable<int> Steps(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteStartObject("data");
        json.WriteString("type", "attestation");
        json.WriteStartObject("attributes");
        json.WriteStartArray("evidence_collected");
        foreach (var type in _order)
        {
            if (type == EvidenceItem.TpmQuote)
                WriteQuote(json);
            else
            {
                foreach (var _ in LogSteps(json, _logs.First(l => l.Type == type)))
                    yield return 0;
            }
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndObject();
        if (_nextWanted || _noticesAfter is not null)
        {
            json.WriteStartObject("meta");
            if (_nextWanted)
                json.WriteBoolean("next_wanted", true);
            if (_noticesAfter is { } after)
                json.WriteNumber("notices_after", after);
            json.WriteEndObject();
        }

        json.WriteEndObject();
        yield return 0;
    }

    private void WriteQuote(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("evidence_class", EvidenceItem.Certification);
        json.WriteString("evidence_type", EvidenceItem.TpmQuote);
        json.WriteStartObject("data");
        json.WriteBase64String("subject_data", _quote.SubjectData);
        json.WriteBase64String("message", _quote.Message);
        json.WriteBase64String("signature", _quote.Signature);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private IEnumerable<int> LogSteps(Utf8JsonWriter json, LogEvidence log)
    {
        json.WriteStartObject();
        json.WriteString("evidence_class", EvidenceItem.Log);
        json.WriteString("evidence_type", log.Type);
        json.WriteStartObject("data");
        if (log.EntryCount is { } count)
            json.WriteNumber("entry_count", count);
        json.WritePropertyName("entries");
        var gzip = log.Format == ChosenParameters.Gzip ? new GzipWriter() : null;
        var isText = log.Format is not (ChosenParameters.OctetStream or ChosenParameters.Gzip);
        foreach (var chunk in log.Chunks())
        {
            if (gzip is not null)
            {
                gzip.Write(chunk.Span);
                json.WriteBase64StringSegment(gzip.Ready, isFinalSegment: false);
                gzip.Take();
            }
            else if (isText)
                json.WriteStringValueSegment(chunk.Span, isFinalSegment: false); // what is no UTF-8 becomes U+FFFD
            else
                json.WriteBase64StringSegment(chunk.Span, isFinalSegment: false);
            yield return 0;
        }

        if (isText)
            json.WriteStringValueSegment(ReadOnlySpan<byte>.Empty, isFinalSegment: true);
        else
        {
            gzip?.Finish();
            json.WriteBase64StringSegment(gzip is null ? [] : gzip.Ready, isFinalSegment: true);
            _inflated = gzip?.Length ?? _inflated;
        }

        json.WriteEndObject();
        json.WriteEndObject();
    }

    private sealed class CountingStream : Stream
    {
        public long Count { get; private set; }

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override void Flush()
        {
        }

        public override void Write(ReadOnlySpan<byte> buffer) => Count += buffer.Length;

        public override void Write(byte[] buffer, int offset, int count) => Count += count;

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}

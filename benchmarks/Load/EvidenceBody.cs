using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Keylime.Protocol.Upstream;

namespace Keylime.Benchmarks.Load;

/// <summary>Evidence as it goes out: in pieces, for a list of many megabytes is the same memory for all machines.</summary>
internal sealed class EvidenceBody : HttpContent
{
    private readonly List<ReadOnlyMemory<byte>> _pieces = [];

    /// <param name="lines">The measurement list, as it goes into JSON; <see langword="null"/> where none is asked for.</param>
    /// <param name="inflated">Bytes of the list, where it is compressed.</param>
    /// <param name="nextWanted">Whether the answer is to ask for the next.</param>
    public EvidenceBody(byte[] message, byte[] signature, byte[] pcrs, IEnumerable<ReadOnlyMemory<byte>>? lines, long count, long? inflated, bool nextWanted)
    {
        if (inflated is { } length)
            Headers.Add(CompressedLog.LengthHeader, length.ToString(CultureInfo.InvariantCulture));
        Headers.ContentType = new MediaTypeHeaderValue("application/vnd.api+json");
        Add("""{"data":{"type":"attestation","attributes":{"evidence_collected":[{"evidence_class":"certification","evidence_type":"tpm_quote","data":{"message":""" + "\"");
        Add(Convert.ToBase64String(message) + "\",\"signature\":\"" + Convert.ToBase64String(signature) + "\",\"subject_data\":\"" + Convert.ToBase64String(pcrs) + "\"}}");
        if (lines is not null)
        {
            Add(""",{"evidence_class":"log","evidence_type":"ima_log","data":{"entry_count":""" + count + ",\"entries\":\"");
            _pieces.AddRange(lines);
            Add("\"}}");
        }

        Add(nextWanted ? "]}},\"meta\":{\"next_wanted\":true}}" : "]}}}");
    }

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
    {
        foreach (var piece in _pieces)
            await stream.WriteAsync(piece);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = _pieces.Sum(static p => (long)p.Length);
        return true;
    }

    private void Add(string text) => _pieces.Add(Encoding.ASCII.GetBytes(text));
}

using System.IO.Compression;
using System.Text;
using Keylime.Attestation;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Fuzz;

/// <summary>Binary measurement lists, states that go with a checkpoint, and runtime policies as texts.</summary>
internal static class ListTargets
{
    public static void States(byte[] bytes)
    {
        // no two encodings of one state
        if (ImaState.TryDecode(bytes, out var state, out _) && !state.Encode().AsSpan().SequenceEqual(bytes))
            throw new InvalidOperationException("malleable");
    }

    // A log that is taken is what its size and CRC say, and within the bounds, whatever was sent.
    public static void Members(byte[] bytes)
    {
        const int most = 1 << 20;
        if (CompressedLog.TryInflate(bytes, null, most, out var log, out _) && (log.Length > Math.Min(most, bytes.Length * CompressedLog.MaxRatio)
            || BitConverter.ToUInt32(bytes, bytes.Length - 4) != log.Length || BitConverter.ToUInt32(bytes, bytes.Length - 8) != Crc32.Append(0, log.Span)))
            throw new InvalidOperationException("beyond its bounds");
    }

    // Of each kind of blocks.
    public static IEnumerable<byte[]> MemberSeeds(byte[] list) =>
        from level in (CompressionLevel[])[CompressionLevel.NoCompression, CompressionLevel.Fastest, CompressionLevel.SmallestSize]
        from text in (byte[][])[list, list[..20]]
        select Gzip(text, level);

    private static byte[] Gzip(byte[] text, CompressionLevel level)
    {
        using var member = new MemoryStream();
        using (var gzip = new GZipStream(member, level, leaveOpen: true))
            gzip.Write(text);
        return member.ToArray();
    }

    public static void Policies(byte[] bytes)
    {
        var judges = RuntimePolicy.TryParse(bytes, out _, out _);
        _ = PolicyLayerList.TryParse(bytes, out _, out _);
        if (!RuntimePolicyDocument.TryParse(bytes, out var document, out var error))
        {
            // what judges can be edited
            if (judges)
                throw new InvalidOperationException(error);
            return;
        }

        _ = document.Lint();
        if (!RuntimePolicyDocument.TryParse(document.Write(), out var again, out error) || !document.Diff(again).IsEmpty)
            throw new InvalidOperationException(error ?? "written otherwise than it was read");
    }

    // A text list of template ima-ng in the kernel's other form.
    public static byte[] Binary(byte[] list)
    {
        if (!ImaList.TryRead(list, ImaListFormat.Text, out var entries, out var error))
            throw new InvalidDataException(error);
        var hashes = Encoding.UTF8.GetString(list).Split('\n').Select(static l => l.Split(' ')).Where(static l => l.Length > 1).Select(static l => Convert.FromHexString(l[1])).ToArray();
        using var bytes = new MemoryStream();
        using var writer = new BinaryWriter(bytes);
        foreach (var entry in entries)
        {
            byte[] digest = [.. Encoding.ASCII.GetBytes(entry.Algorithm), (byte)':', 0, .. entry.Digest.Span];
            writer.Write(entry.Pcr);
            writer.Write(hashes[entry.Line]);
            writer.Write(entry.Template.Length);
            writer.Write(Encoding.ASCII.GetBytes(entry.Template));
            writer.Write(digest.Length + entry.Path.Length + 1 + 2 * sizeof(int));
            writer.Write(digest.Length);
            writer.Write(digest);
            writer.Write(entry.Path.Length + 1);
            writer.Write([.. entry.Path.Span, 0]);
        }

        return bytes.ToArray();
    }
}

using System.Text;
using Keylime.Attestation;

namespace Keylime.Tenant;

/// <summary>A measurement list: each path with the digests that were measured of it, and on request the keys and buffers.</summary>
internal static class ImaListSource
{
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <param name="name">The list's, for what is told.</param>
    /// <param name="logHash">Of its template hashes; <see langword="null"/> to take it from the list, which the text form allows.</param>
    /// <returns>The list's template hash.</returns>
    /// <exception cref="CliException">It is no list, or one without anything that a policy can allow.</exception>
    public static string Add(PolicyDraft draft, string name, ReadOnlyMemory<byte> list, string? logHash, bool keyrings, bool buffers)
    {
        var format = ImaList.FormatOf(list.Span);
        logHash ??= format == ImaListFormat.Text ? HashOf(list.Span) : "sha1";
        var size = logHash switch { "sha1" => 20, "sha256" => 32, "sha384" => 48, _ => 64 };
        if (!ImaList.TryRead(list, format, size, out var entries, out var error))
            throw new CliException(Exits.Usage, PlainText.From($"{name}: {error}"), "a measurement list of IMA is expected, in text or binary; --log-hash says the template hash of a binary one that is not sha1");

        var before = draft.Seen;
        var others = 0;
        foreach (var entry in entries)
        {
            if (!TryName(draft, name, entry, out var path))
                continue;
            if (entry.IsViolation)
                draft.Tell($"{name}: line {entry.Line}, {path}, is a violation: no digest is known, so none is allowed");
            else if (entry.IsBuffer)
                others += AddBuffer(draft, entry, path, keyrings, buffers) ? 1 : 0;
            else if (entry.Digest.Length < 20)
                draft.Tell($"{name}: line {entry.Line}, {path}: a digest of {8 * entry.Digest.Length} bits is too weak to be listed");
            else
                draft.Allow(path, Convert.ToHexStringLower(entry.Digest.Span));
        }

        if (draft.Seen == before && others == 0)
            throw new CliException(Exits.Usage, PlainText.From($"{name}: the list has no line that a policy can allow"), "it is found at /sys/kernel/security/ima/ascii_runtime_measurements");
        return logHash;
    }

    private static bool AddBuffer(PolicyDraft draft, ImaEntry entry, string name, bool keyrings, bool buffers)
    {
        var digest = Convert.ToHexStringLower(entry.Digest.Span);
        if (ImaKey.TryRead(entry.Buffer.Span, out _, out _))
        {
            if (keyrings)
                draft.Document.AllowKey(name, digest);
            return keyrings;
        }

        if (buffers)
            draft.Document.AllowBuffer(name, digest);
        return buffers;
    }

    private static bool TryName(PolicyDraft draft, string list, ImaEntry entry, out string name)
    {
        try
        {
            name = StrictUtf8.GetString(entry.Path.Span);
            return name.Length > 0;
        }
        catch (DecoderFallbackException)
        {
            draft.Tell($"{list}: line {entry.Line}: its path is no UTF-8, and JSON cannot name it: it is not allowed");
            name = "";
            return false;
        }
    }

    // The second field of the first line. What is of no known length the reader objects to.
    private static string HashOf(ReadOnlySpan<byte> list)
    {
        var end = list.IndexOf((byte)'\n');
        var line = (end < 0 ? list : list[..end]).TrimStart((byte)' ');
        line = line[(line.IndexOf((byte)' ') + 1)..];
        return line.IndexOf((byte)' ') switch { 64 => "sha256", 96 => "sha384", 128 => "sha512", _ => "sha1" };
    }
}

using System.Buffers.Text;

namespace Keylime.Attestation;

/// <summary>One line of <c>ascii_runtime_measurements</c>, taken apart; its spans point into the line.</summary>
/// <remarks>
/// <c>PCR template-hash template-name template-data</c>, one space between (kernel: security/integrity/ima/ima_fs.c). A path is bytes: it
/// may hold spaces, and need not be UTF-8. One form is accepted: lower-case hex, no other white space, so that two lines never mean the same.
/// </remarks>
internal ref struct ImaLine
{
    /// <summary>The longest line, in bytes: a path of 4,096, a signature of some hundred, and the rest.</summary>
    public const int MaxLength = 16 * 1024;

    private const int MaxDigestHex = 128;

    public int Pcr;

    /// <summary>Lower-case hex.</summary>
    public ReadOnlySpan<byte> TemplateHash;

    public ImaTemplate Template;

    /// <summary>The template's name, known or not.</summary>
    public ReadOnlySpan<byte> TemplateName;

    /// <summary>Of the file's digest: <c>sha256</c>.</summary>
    public ReadOnlySpan<byte> Algorithm;

    /// <summary>Of the file, lower-case hex.</summary>
    public ReadOnlySpan<byte> Digest;

    public ReadOnlySpan<byte> Path;

    /// <summary>Of <c>ima-sig</c>, lower-case hex; empty where the file has none.</summary>
    public ReadOnlySpan<byte> Signature;

    /// <returns><see langword="null"/>, or what is wrong.</returns>
    public static string? TryParse(ReadOnlySpan<byte> text, out ImaLine line)
    {
        line = default;
        if (text.Length > MaxLength)
            return $"{text.Length} bytes, {MaxLength} at most";

        if (!Cut(ref text, (byte)' ', out var pcr) || !TryReadPcr(pcr, out line.Pcr))
            return "it does not start with a PCR index and a space";

        if (!Cut(ref text, (byte)' ', out line.TemplateHash) || !IsHex(line.TemplateHash))
            return "the template hash is no lower-case hex followed by a space";

        if (!Cut(ref text, (byte)' ', out line.TemplateName) || line.TemplateName.IsEmpty)
            return "the template name is missing";

        line.Template = ImaTemplates.Find(line.TemplateName);
        if (line.Template == ImaTemplate.Unsupported)
            return null;

        if (!Cut(ref text, (byte)':', out line.Algorithm) || line.Algorithm.IsEmpty || line.Algorithm.Length > 32 || line.Algorithm.Contains((byte)' '))
            return "the file's digest names no algorithm";

        if (!Cut(ref text, (byte)' ', out line.Digest) || !IsHex(line.Digest))
            return "the file's digest is no lower-case hex followed by a space";

        line.Path = text;
        if (line.Template == ImaTemplate.ImaSig)
        {
            // The signature is behind the last space: a path may have spaces, hex has none.
            var space = text.LastIndexOf((byte)' ');
            if (space < 0)
                return "the signature field is missing";
            line.Path = text[..space];
            line.Signature = text[(space + 1)..];
            if (line.Signature.Length % 2 != 0 || line.Signature.ContainsAnyExcept(Hex.Lower))
                return "the signature is no lower-case hex";
        }

        return line.Path.IsEmpty || line.Path.Contains((byte)0) ? "the path is empty or holds a zero" : null;
    }

    private static bool TryReadPcr(ReadOnlySpan<byte> text, out int pcr) =>
        Utf8Parser.TryParse(text, out pcr, out var used) && used == text.Length && text.Length <= 2 && char.IsAsciiDigit((char)text[0])
        && (text.Length == 1 || text[0] != '0');

    private static bool IsHex(ReadOnlySpan<byte> text) =>
        text.Length is > 0 and <= MaxDigestHex && text.Length % 2 == 0 && !text.ContainsAnyExcept(Hex.Lower);

    private static bool Cut(scoped ref ReadOnlySpan<byte> text, byte separator, out ReadOnlySpan<byte> head)
    {
        var at = text.IndexOf(separator);
        if (at < 0)
        {
            head = default;
            return false;
        }

        head = text[..at];
        text = text[(at + 1)..];
        return true;
    }
}

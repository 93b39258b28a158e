using System.Buffers.Binary;
using System.Buffers.Text;

namespace Keylime.Attestation;

/// <summary>A line of <c>ascii_runtime_measurements</c>: makes the bytes that the kernel hashed out of it.</summary>
/// <remarks>
/// <c>PCR template-hash template-name fields</c>, one space between (kernel: security/integrity/ima/ima_fs.c). A path is bytes: it may hold
/// spaces (newer kernels write <c>_</c> for them), and need not be UTF-8; no other field has spaces. One form is accepted: lower-case
/// hex, no other white space, so that two lines never mean the same.
/// </remarks>
internal static class ImaText
{
    /// <summary>The longest line, in bytes: half of it is what a measured buffer may have.</summary>
    public const int MaxLength = 1024 * 1024;

    private const int MaxHashHex = 128;

    /// <returns><see langword="null"/>, or what is wrong.</returns>
    public static string? TryParse(ReadOnlySpan<byte> text, ImaScratch scratch, out ImaRecord record)
    {
        record = default;
        if (text.Length > MaxLength)
            return $"{text.Length} bytes, {MaxLength} at most";

        if (!TryCut(ref text, out var pcr, true) || !TryReadPcr(pcr, out record.Pcr))
            return "it does not start with a PCR index and a space";

        if (!TryCut(ref text, out var hash) || hash.Length is 0 or > MaxHashHex || !IsHex(hash))
            return "the template hash is no lower-case hex followed by a space";
        record.TemplateHash = scratch.Hash.AsSpan(0, Hex.Decode(hash, scratch.Hash));

        if (!TryCut(ref text, out record.TemplateName) || record.TemplateName.IsEmpty)
            return "the template name is missing";

        if (ImaTemplate.Find(record.TemplateName, scratch.Last) is not { } template)
            return null;
        scratch.Last = template;

        var data = scratch.Need(text.Length + ImaTemplate.MaxFields * (sizeof(uint) + 2) + ImaRecord.LegacyNameSize);
        var at = 0;
        if (WriteFields(template, text, data, ref at) is { } wrong)
            return wrong;
        record.Data = data[..at];
        return record.Split(template);
    }

    private static string? WriteFields(ImaTemplate template, ReadOnlySpan<byte> text, Span<byte> data, ref int at)
    {
        // What is in front of the name is cut off in front, what is behind it from behind: what is left is the name, spaces and all.
        Span<Range> behind = stackalloc Range[ImaTemplate.MaxFields];
        var end = text.Length;
        for (var i = template.Fields.Length - 1; i > ImaTemplate.NameAt; i--)
        {
            var space = text[..end].LastIndexOf((byte)' ');
            if (space < 0)
                return "fields are missing behind the path";
            behind[i] = (space + 1)..end;
            end = space;
        }

        var name = text[..end];
        if (!TryCut(ref name, out var digest))
            return "the digest or the path is missing";
        if ((Write(template, template.Fields[0], digest, data, ref at) ?? Write(template, template.Fields[ImaTemplate.NameAt], name, data, ref at)) is { } bad)
            return bad;
        for (var i = ImaTemplate.NameAt + 1; i < template.Fields.Length; i++)
        {
            if (Write(template, template.Fields[i], text[behind[i]], data, ref at) is { } wrong)
                return wrong;
        }

        return null;
    }

    private static string? Write(ImaTemplate template, ImaField field, ReadOnlySpan<byte> text, Span<byte> data, ref int at)
    {
        var into = template.IsLegacy ? data[at..] : data[(at + sizeof(uint))..];
        int length;
        switch (field)
        {
            case ImaField.Digest:
                if (!IsHex(text) || text.Length is not (32 or 40))
                    return "the digest is no lower-case hex of SHA-1 or MD5";
                length = Hex.Decode(text, into);
                break;
            case ImaField.DigestNg or ImaField.DigestNgV2 or ImaField.ModsigDigest:
                if (!TryWriteDigest(text, into, field == ImaField.ModsigDigest, out length))
                    return "the file's digest is no algorithm, a colon and lower-case hex";
                break;
            case ImaField.Name when template.IsLegacy:
                if (text.Length >= ImaRecord.LegacyNameSize || text.Contains((byte)0))
                    return $"the path is longer than {ImaRecord.LegacyNameSize - 1} bytes, or holds a zero";
                into[..ImaRecord.LegacyNameSize].Clear();
                text.CopyTo(into);
                length = ImaRecord.LegacyNameSize;
                break;
            case ImaField.Name or ImaField.NameNg or ImaField.AttributeNames:
                text.CopyTo(into);
                into[text.Length] = 0;
                length = text.IsEmpty ? 0 : text.Length + 1;
                break;
            case ImaField.UserId or ImaField.GroupId or ImaField.Mode:
                if (!TryWriteNumber(text, into, field == ImaField.Mode ? sizeof(ushort) : sizeof(uint), out length))
                    return "an owner or mode is no number";
                break;
            default:
                if (!IsHex(text))
                    return field == ImaField.Signature ? "the signature is no lower-case hex" : "a field behind the path is no lower-case hex";
                length = text.IsEmpty ? 0 : Hex.Decode(text, into);
                break;
        }

        if (!template.IsLegacy)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(data[at..], (uint)length);
            at += sizeof(uint);
        }

        at += length;
        return null;
    }

    // "sha256:hex" → "sha256:", a zero, the digest
    private static bool TryWriteDigest(ReadOnlySpan<byte> text, Span<byte> into, bool mayBeMissing, out int length)
    {
        length = 0;
        if (text.IsEmpty)
            return mayBeMissing;
        var colon = text.LastIndexOf((byte)':');
        var hex = text[(colon + 1)..];
        if (colon < 1 || hex.Length is 0 or > MaxHashHex || !IsHex(hex))
            return false;

        text[..(colon + 1)].CopyTo(into);
        into[colon + 1] = 0;
        length = colon + 2 + Hex.Decode(hex, into[(colon + 2)..]);
        return true;
    }

    private static bool TryWriteNumber(ReadOnlySpan<byte> text, Span<byte> into, int size, out int length)
    {
        length = 0;
        if (text.IsEmpty)
            return true;
        if (!char.IsAsciiDigit((char)text[0]) || text.Length > 1 && text[0] == '0'
            || !Utf8Parser.TryParse(text, out uint value, out var used) || used != text.Length || size == sizeof(ushort) && value > ushort.MaxValue)
        {
            return false;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(into, value);
        length = size;
        return true;
    }

    // "%2d": a space in front of a single digit
    private static bool TryReadPcr(ReadOnlySpan<byte> text, out int pcr)
    {
        pcr = 0;
        if (text is not [(byte)' ' or (>= (byte)'1' and <= (byte)'9'), >= (byte)'0' and <= (byte)'9'])
            return false;
        pcr = (text[0] == ' ' ? 0 : 10 * (text[0] - '0')) + text[1] - '0';
        return true;
    }

    private static bool IsHex(ReadOnlySpan<byte> text) => text.Length % 2 == 0 && !text.ContainsAnyExcept(Hex.Lower);

    private static bool TryCut(scoped ref ReadOnlySpan<byte> text, out ReadOnlySpan<byte> head, bool isFirst = false)
    {
        var from = isFirst && text is [(byte)' ', ..] ? 1 : 0;
        var at = text[from..].IndexOf((byte)' ');
        if (at < 0)
        {
            head = default;
            return false;
        }

        head = text[..(from + at)];
        text = text[(from + at + 1)..];
        return true;
    }
}

using System.Buffers.Binary;

namespace Keylime.Attestation;

/// <summary>One entry, taken apart; its spans point into the list or into the reader's memory, and last until the next entry is read.</summary>
internal ref struct ImaRecord
{
    /// <summary>IMA_EVENT_NAME_LEN_MAX + 1: what the name of template <c>ima</c> is filled up to before it is hashed.</summary>
    public const int LegacyNameSize = 256;

    public int Pcr;

    public ReadOnlySpan<byte> TemplateHash;

    /// <summary><see langword="null"/> if it is not one that can be taken apart: then only <see cref="Data"/> may be known.</summary>
    public ImaTemplate? Template;

    public ReadOnlySpan<byte> TemplateName;

    /// <summary>The bytes that the kernel hashed; empty if nobody knows them.</summary>
    public ReadOnlySpan<byte> Data;

    /// <summary>Of the digest: <c>sha256</c>; empty for template <c>ima</c>.</summary>
    public ReadOnlySpan<byte> Algorithm;

    public ReadOnlySpan<byte> Digest;

    /// <summary>The digest is that of an fs-verity descriptor.</summary>
    public bool IsVerity;

    public ReadOnlySpan<byte> Path;

    public ReadOnlySpan<byte> Signature;

    public ReadOnlySpan<byte> Buffer;

    /// <summary>The file was open for writing while it was measured (ToMToU, open writers): the kernel lists zeros, and extends ones.</summary>
    public readonly bool IsViolation => !TemplateHash.ContainsAnyExcept((byte)0);

    /// <summary>Finds the fields in <see cref="Data"/>.</summary>
    /// <returns><see langword="null"/>, or what is wrong.</returns>
    public string? Split(ImaTemplate template)
    {
        Template = template;
        return template.IsLegacy ? SplitLegacy() : SplitFields(template);
    }

    // The digest as it is, the name filled up with zeros: no sizes (kernel: ima_crypto.c, ima_calc_field_array_hash_tfm).
    private string? SplitLegacy()
    {
        Digest = Data[..^LegacyNameSize];
        var name = Data[^LegacyNameSize..];
        var end = name.IndexOf((byte)0);
        Path = name[..end];
        return end == 0 ? "the path is empty" : null;
    }

    private string? SplitFields(ImaTemplate template)
    {
        var rest = Data;
        foreach (var field in template.Fields)
        {
            if (rest.Length < sizeof(uint) || BinaryPrimitives.ReadUInt32LittleEndian(rest) is var size && size > (uint)(rest.Length - sizeof(uint)))
                return "a field of its data is longer than the data";

            var value = rest.Slice(sizeof(uint), (int)size);
            rest = rest[(sizeof(uint) + (int)size)..];
            if (Take(field, value) is { } wrong)
                return wrong;
        }

        return rest.IsEmpty ? null : "its data have bytes behind the last field";
    }

    private string? Take(ImaField field, ReadOnlySpan<byte> value)
    {
        switch (field)
        {
            case ImaField.Digest:
                Digest = value;
                return value.Length is 16 or 20 ? null : "the digest is neither SHA-1's nor MD5's";
            case ImaField.DigestNg or ImaField.DigestNgV2:
                return TakeDigest(value, field == ImaField.DigestNgV2);
            case ImaField.Name or ImaField.NameNg:
                if (value.IndexOf((byte)0) != value.Length - 1 || value.Length < 2)
                    return "the path is empty or holds a zero";
                Path = value[..^1];
                return null;
            case ImaField.Signature:
                Signature = value;
                return null;
            case ImaField.Buffer:
                Buffer = value;
                return null;
            default:
                return null; // measured, so it is in the hash; nothing is judged by it
        }
    }

    private string? TakeDigest(ReadOnlySpan<byte> value, bool hasType)
    {
        var zero = value.IndexOf((byte)0);
        if (zero < 2 || value[zero - 1] != ':')
            return "the file's digest names no algorithm";

        Algorithm = value[..(zero - 1)];
        Digest = value[(zero + 1)..];
        if (hasType)
        {
            var colon = Algorithm.IndexOf((byte)':');
            var type = colon < 0 ? [] : Algorithm[..colon];
            IsVerity = type.SequenceEqual("verity"u8);
            if (!IsVerity && !type.SequenceEqual("ima"u8))
                return "the digest's type is neither ima nor verity";
            Algorithm = Algorithm[(colon + 1)..];
        }

        return Algorithm.IsEmpty || Algorithm.Length > 32 || Algorithm.ContainsAnyExceptInRange((byte)'!', (byte)'~') || Algorithm.Contains((byte)':')
            ? "the file's digest names no algorithm"
            : null;
    }
}

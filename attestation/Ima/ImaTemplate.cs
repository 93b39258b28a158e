using System.Buffers.Binary;

namespace Keylime.Attestation;

/// <summary>The shape of a measurement's data (kernel: Documentation/security/IMA-templates.rst).</summary>
internal enum ImaTemplate
{
    /// <summary>Named in the line, and not one that can be hashed here: <c>ima</c>, <c>ima-buf</c>, <c>ima-ngv2</c>, <c>ima-modsig</c> … come later.</summary>
    Unsupported,

    /// <summary>d-ng, n-ng.</summary>
    ImaNg,

    /// <summary>d-ng, n-ng, sig.</summary>
    ImaSig,
}

internal static class ImaTemplates
{
    /// <summary>The most that template data takes up beyond its line: three sizes, a zero behind the algorithm and one behind the path.</summary>
    public const int MaxDataLength = ImaLine.MaxLength + 3 * sizeof(uint) + 2;

    public static ImaTemplate Find(ReadOnlySpan<byte> name) =>
        name.SequenceEqual("ima-ng"u8) ? ImaTemplate.ImaNg
        : name.SequenceEqual("ima-sig"u8) ? ImaTemplate.ImaSig
        : ImaTemplate.Unsupported;

    /// <summary>Writes the bytes that the kernel hashed: each field with its size, little-endian, in front.</summary>
    /// <returns>How many bytes.</returns>
    public static int WriteData(in ImaLine line, Span<byte> into)
    {
        // d-ng: "sha256:", a zero, the digest
        var digestLength = line.Digest.Length / 2;
        BinaryPrimitives.WriteUInt32LittleEndian(into, (uint)(line.Algorithm.Length + 2 + digestLength));
        var at = sizeof(uint);
        line.Algorithm.CopyTo(into[at..]);
        at += line.Algorithm.Length;
        into[at++] = (byte)':';
        into[at++] = 0;
        at += Hex.Decode(line.Digest, into[at..]);

        // n-ng: the path, a zero
        BinaryPrimitives.WriteUInt32LittleEndian(into[at..], (uint)line.Path.Length + 1);
        at += sizeof(uint);
        line.Path.CopyTo(into[at..]);
        at += line.Path.Length;
        into[at++] = 0;
        if (line.Template == ImaTemplate.ImaNg)
            return at;

        // sig: the whole xattr, or nothing
        BinaryPrimitives.WriteUInt32LittleEndian(into[at..], (uint)line.Signature.Length / 2);
        at += sizeof(uint);
        return at + (line.Signature.IsEmpty ? 0 : Hex.Decode(line.Signature, into[at..]));
    }
}

using System.Buffers;
using System.Security.Cryptography;

namespace Keylime.Tpm;

/// <summary>TPMT_PUBLIC of a sealed object: data that the TPM gives back when the object's policy is met (Part 1, 27.2). It is no key.</summary>
public sealed class SealedArea
{
    public TpmAlgorithm NameAlgorithm { get; init; } = TpmAlgorithm.Sha256;

    /// <summary>What it takes to unseal it; empty where a password does.</summary>
    public ReadOnlyMemory<byte> AuthPolicy { get; init; }

    public ObjectAttributes Attributes { get; init; } = ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent;

    /// <summary>The digest that binds the public area to the sensitive one; empty in a template.</summary>
    public ReadOnlyMemory<byte> Unique { get; init; }

    /// <exception cref="TpmFormatException">The bytes are no TPMT_PUBLIC of a sealed object.</exception>
    public static SealedArea Parse(ReadOnlySpan<byte> encoded)
    {
        var reader = new TpmReader(encoded);
        reader.Expect((ushort)TpmAlgorithm.KeyedHash, "type");
        var area = new SealedArea
        {
            NameAlgorithm = PublicArea.ReadNameAlgorithm(ref reader),
            Attributes = PublicArea.ReadAttributes(ref reader),
            AuthPolicy = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "authPolicy").ToArray(),
            Unique = ReadUnique(ref reader),
        };
        reader.ExpectEnd();
        return area;
    }

    public byte[] Encode()
    {
        var output = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(output);
        writer.WriteUInt16((ushort)TpmAlgorithm.KeyedHash);
        writer.WriteUInt16((ushort)NameAlgorithm);
        writer.WriteUInt32((uint)Attributes);
        writer.WriteSized(AuthPolicy.Span);
        writer.WriteUInt16((ushort)TpmAlgorithm.Null); // scheme: it signs nothing
        writer.WriteSized(Unique.Span);
        return output.WrittenSpan.ToArray();
    }

    public byte[] ComputeName() =>
        [(byte)((ushort)NameAlgorithm >> 8), (byte)((ushort)NameAlgorithm & 0xFF), .. CryptographicOperations.HashData(NameAlgorithm.HashName(), Encode())];

    private static byte[] ReadUnique(ref TpmReader reader)
    {
        reader.Expect((ushort)TpmAlgorithm.Null, "scheme");
        return reader.ReadSized(TpmAlgorithms.MaxDigestSize, "unique").ToArray();
    }
}

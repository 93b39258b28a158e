using System.Buffers;
using System.Diagnostics.CodeAnalysis;

namespace Keylime.Tpm;

/// <summary>TPMT_SIGNATURE (Part 2, 11.3.4), of the schemes that attestation uses.</summary>
public abstract class TpmSignature
{
    private const int MaxRsa = 512;       // RSA-4096
    private const int MaxCoordinate = 66; // P-521

    private TpmSignature(TpmAlgorithm scheme, TpmAlgorithm hash) => (Scheme, Hash) = (scheme, hash);

    /// <summary>RSASSA, RSAPSS or ECDSA.</summary>
    public TpmAlgorithm Scheme { get; }

    /// <summary>The hash that was signed; any value, so compare it with what is accepted.</summary>
    public TpmAlgorithm Hash { get; }

    public sealed class Rsa(TpmAlgorithm scheme, TpmAlgorithm hash, ReadOnlyMemory<byte> value) : TpmSignature(scheme, hash)
    {
        public ReadOnlyMemory<byte> Value { get; } = value;
    }

    /// <summary>An ECDSA signature; r and s as the TPM wrote them, which may leave out leading zeros.</summary>
    public sealed class Ecdsa(TpmAlgorithm hash, ReadOnlyMemory<byte> r, ReadOnlyMemory<byte> s)
        : TpmSignature(TpmAlgorithm.Ecdsa, hash)
    {
        public ReadOnlyMemory<byte> R { get; } = r;

        public ReadOnlyMemory<byte> S { get; } = s;
    }

    public static bool TryParse(ReadOnlySpan<byte> encoded, [NotNullWhen(true)] out TpmSignature? signature)
    {
        try
        {
            signature = Parse(encoded);
            return true;
        }
        catch (TpmFormatException)
        {
            signature = null;
            return false;
        }
    }

    /// <exception cref="TpmFormatException">The bytes are no signature, or of a scheme that this system does not speak.</exception>
    public static TpmSignature Parse(ReadOnlySpan<byte> encoded)
    {
        var reader = new TpmReader(encoded);
        var signature = Read(ref reader);
        reader.ExpectEnd();
        return signature;
    }

    public static TpmSignature Read(ref TpmReader reader)
    {
        var at = reader.Position;
        var scheme = (TpmAlgorithm)reader.ReadUInt16();
        var hash = (TpmAlgorithm)reader.ReadUInt16();
        return scheme switch
        {
            TpmAlgorithm.RsaSsa or TpmAlgorithm.RsaPss =>
                new Rsa(scheme, hash, reader.ReadSized(MaxRsa, "sig").ToArray()),
            TpmAlgorithm.Ecdsa => new Ecdsa(
                hash,
                reader.ReadSized(MaxCoordinate, "signatureR").ToArray(),
                reader.ReadSized(MaxCoordinate, "signatureS").ToArray()),
            _ => throw new TpmFormatException($"sigAlg 0x{(ushort)scheme:x4} is not RSASSA, RSAPSS or ECDSA,", at),
        };
    }

    public void Write(TpmWriter writer)
    {
        writer.WriteUInt16((ushort)Scheme);
        writer.WriteUInt16((ushort)Hash);
        switch (this)
        {
            case Rsa rsa:
                writer.WriteSized(rsa.Value.Span);
                break;
            case Ecdsa ecdsa:
                writer.WriteSized(ecdsa.R.Span);
                writer.WriteSized(ecdsa.S.Span);
                break;
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    public byte[] Encode()
    {
        var output = new ArrayBufferWriter<byte>();
        Write(new TpmWriter(output));
        return output.WrittenSpan.ToArray();
    }
}

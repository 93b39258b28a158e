using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Keylime.Tpm;

/// <summary>TPMT_PUBLIC (Part 2, 12.2.4) of an RSA or an ECC key: a key's public part, or the template of one.</summary>
public abstract class PublicArea
{
    private const int MaxPolicy = TpmAlgorithms.MaxDigestSize;
    private const int MaxModulus = 512;
    private const int MaxCoordinate = 66;

    private PublicArea()
    {
    }

    /// <summary>Rsa or Ecc.</summary>
    public abstract TpmAlgorithm Type { get; }

    /// <summary>The hash that makes the name.</summary>
    public required TpmAlgorithm NameAlgorithm { get; init; }

    public required ObjectAttributes Attributes { get; init; }

    public ReadOnlyMemory<byte> AuthPolicy { get; init; }

    public SymmetricDefinition Symmetric { get; init; } = SymmetricDefinition.None;

    public KeyScheme Scheme { get; init; } = KeyScheme.None;

    public sealed class Rsa : PublicArea
    {
        public override TpmAlgorithm Type => TpmAlgorithm.Rsa;

        public required ushort KeyBits { get; init; }

        /// <summary>0 stands for 65537.</summary>
        public uint Exponent { get; init; }

        /// <summary>The modulus, big-endian; in a template what seeds a primary key.</summary>
        public required ReadOnlyMemory<byte> Modulus { get; init; }

        /// <summary>The public key, for the runtime's RSA.</summary>
        /// <exception cref="CryptographicException">The modulus is none, or does not have the size it should.</exception>
        public RSA CreateKey()
        {
            if (Modulus.IsEmpty || Modulus.Length * 8 != KeyBits || Modulus.Span[0] < 0x80)
                throw new CryptographicException($"An RSA modulus of {Modulus.Length} bytes, where {KeyBits} bits were said.");

            var exponent = Exponent == 0 ? 65537 : Exponent;
            return RSA.Create(new RSAParameters
            {
                Modulus = Modulus.ToArray(),
                Exponent = [.. BigEndian(exponent)],
            });
        }

        private static ReadOnlySpan<byte> BigEndian(uint value)
        {
            var bytes = new byte[sizeof(uint)];
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
            return bytes.AsSpan().TrimStart((byte)0);
        }
    }

    public sealed class Ecc : PublicArea
    {
        public override TpmAlgorithm Type => TpmAlgorithm.Ecc;

        public required TpmCurve Curve { get; init; }

        public KeyScheme Kdf { get; init; } = KeyScheme.None;

        public required ReadOnlyMemory<byte> X { get; init; }

        public required ReadOnlyMemory<byte> Y { get; init; }

        /// <summary>The point, for the runtime: coordinates padded to the curve's size. That it is on the curve is checked on import.</summary>
        /// <exception cref="CryptographicException">A coordinate is longer than the curve's.</exception>
        public ECParameters ToParameters()
        {
            var parameters = new ECParameters
            {
                Curve = Curve.ToEccCurve(),
                Q = new ECPoint { X = Pad(X.Span), Y = Pad(Y.Span) },
            };
            parameters.Validate();
            return parameters;
        }

        private byte[] Pad(ReadOnlySpan<byte> coordinate)
        {
            var padded = new byte[Curve.CoordinateSize()];
            if (coordinate.Length > padded.Length)
                throw new CryptographicException($"A coordinate of {coordinate.Length} bytes on a curve of {padded.Length}.");
            coordinate.CopyTo(padded.AsSpan(padded.Length - coordinate.Length));
            return padded;
        }
    }

    public static bool TryParse(ReadOnlySpan<byte> encoded, [NotNullWhen(true)] out PublicArea? area)
    {
        try
        {
            area = Parse(encoded);
            return true;
        }
        catch (TpmFormatException)
        {
            area = null;
            return false;
        }
    }

    /// <summary>Reads a TPMT_PUBLIC, or a TPM2B_PUBLIC, which has two bytes of size in front.</summary>
    /// <exception cref="TpmFormatException">The bytes are neither.</exception>
    public static PublicArea Parse(ReadOnlySpan<byte> encoded)
    {
        // A TPMT_PUBLIC starts with 0x0001 or 0x0023. A TPM2B_PUBLIC that starts so would have 1 byte, or 35: no key has so few, and
        // a template of 35 does not exist, for its parts have even sizes.
        var reader = new TpmReader(encoded);
        if (encoded is [0, 0x01 or 0x23, ..])
            return ReadToEnd(reader);

        var inner = reader.ReadSizedStructure();
        reader.ExpectEnd();
        return ReadToEnd(inner);

        static PublicArea ReadToEnd(TpmReader reader)
        {
            var area = Read(ref reader);
            reader.ExpectEnd();
            return area;
        }
    }

    /// <summary>Reads a TPMT_PUBLIC.</summary>
    public static PublicArea Read(ref TpmReader reader)
    {
        var at = reader.Position;
        var type = (TpmAlgorithm)reader.ReadUInt16();
        if (type is not (TpmAlgorithm.Rsa or TpmAlgorithm.Ecc))
            throw new TpmFormatException($"object type 0x{(ushort)type:x4} is neither RSA nor ECC,", at);

        var nameAlgorithm = ReadNameAlgorithm(ref reader);
        var attributes = ReadAttributes(ref reader);
        var policy = reader.ReadSized(MaxPolicy, "authPolicy").ToArray();
        var symmetric = SymmetricDefinition.Read(ref reader);
        var scheme = type == TpmAlgorithm.Rsa ? KeyScheme.ReadRsa(ref reader) : KeyScheme.ReadEcc(ref reader);
        if (type == TpmAlgorithm.Rsa)
        {
            return new Rsa
            {
                NameAlgorithm = nameAlgorithm,
                Attributes = attributes,
                AuthPolicy = policy,
                Symmetric = symmetric,
                Scheme = scheme,
                KeyBits = reader.ReadUInt16(),
                Exponent = reader.ReadUInt32(),
                Modulus = reader.ReadSized(MaxModulus, "modulus").ToArray(),
            };
        }

        var curveAt = reader.Position;
        var curve = (TpmCurve)reader.ReadUInt16();
        if (!Enum.IsDefined(curve))
            throw new TpmFormatException($"curve 0x{(ushort)curve:x4} is not P-256, P-384 or P-521,", curveAt);
        return new Ecc
        {
            NameAlgorithm = nameAlgorithm,
            Attributes = attributes,
            AuthPolicy = policy,
            Symmetric = symmetric,
            Scheme = scheme,
            Curve = curve,
            Kdf = KeyScheme.ReadKdf(ref reader),
            X = reader.ReadSized(MaxCoordinate, "x").ToArray(),
            Y = reader.ReadSized(MaxCoordinate, "y").ToArray(),
        };
    }

    internal static TpmAlgorithm ReadNameAlgorithm(ref TpmReader reader)
    {
        var at = reader.Position;
        var algorithm = (TpmAlgorithm)reader.ReadUInt16();
        return algorithm.IsHash() ? algorithm : throw new TpmFormatException($"nameAlg 0x{(ushort)algorithm:x4} is no hash this system computes,", at);
    }

    // "reserved: shall be zero" (Part 2, 8.3.2)
    internal static ObjectAttributes ReadAttributes(ref TpmReader reader)
    {
        const uint reserved = 0xFFF0_F009;
        var at = reader.Position;
        var attributes = reader.ReadUInt32();
        if ((attributes & reserved) != 0)
            throw new TpmFormatException($"objectAttributes 0x{attributes:x8} have reserved bits set", at);
        return (ObjectAttributes)attributes;
    }

    /// <summary>Writes the TPMT_PUBLIC.</summary>
    public void Write(TpmWriter writer)
    {
        writer.WriteUInt16((ushort)Type);
        writer.WriteUInt16((ushort)NameAlgorithm);
        writer.WriteUInt32((uint)Attributes);
        writer.WriteSized(AuthPolicy.Span);
        Symmetric.Write(writer);
        Scheme.Write(writer);
        switch (this)
        {
            case Rsa rsa:
                writer.WriteUInt16(rsa.KeyBits);
                writer.WriteUInt32(rsa.Exponent);
                writer.WriteSized(rsa.Modulus.Span);
                break;
            case Ecc ecc:
                writer.WriteUInt16((ushort)ecc.Curve);
                ecc.Kdf.Write(writer);
                writer.WriteSized(ecc.X.Span);
                writer.WriteSized(ecc.Y.Span);
                break;
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    /// <summary>TPMT_PUBLIC.</summary>
    public byte[] Encode()
    {
        var output = new ArrayBufferWriter<byte>();
        Write(new TpmWriter(output));
        return output.WrittenSpan.ToArray();
    }

    /// <summary>TPM2B_PUBLIC: the same with its size in front, which is how Keylime's registrar wants it.</summary>
    public byte[] EncodeSized()
    {
        var output = new ArrayBufferWriter<byte>();
        new TpmWriter(output).WriteSized(Encode());
        return output.WrittenSpan.ToArray();
    }

    /// <summary>The name (Part 1, 16): nameAlg, and the hash of the TPMT_PUBLIC. It identifies the key in any TPM.</summary>
    public byte[] ComputeName() =>
        [(byte)((ushort)NameAlgorithm >> 8), (byte)((ushort)NameAlgorithm & 0xFF),
            .. CryptographicOperations.HashData(NameAlgorithm.HashName(), Encode())];
}

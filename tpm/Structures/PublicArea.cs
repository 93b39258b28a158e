using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Keylime.Tpm;

/// <summary>TPMA_OBJECT (Part 2, 8.3).</summary>
[Flags]
[SuppressMessage("Design", "CA1028:Enum Storage should be Int32", Justification = "The width is the wire's.")]
public enum ObjectAttributes : uint
{
    None = 0,
    FixedTpm = 1 << 1,
    StClear = 1 << 2,
    FixedParent = 1 << 4,
    SensitiveDataOrigin = 1 << 5,
    UserWithAuth = 1 << 6,
    AdminWithPolicy = 1 << 7,
    NoDictionaryAttack = 1 << 10,
    EncryptedDuplication = 1 << 11,
    Restricted = 1 << 16,
    Decrypt = 1 << 17,
    Sign = 1 << 18,
}

/// <summary>TPMT_SYM_DEF_OBJECT (Part 2, 11.1.7); <c>default</c> is none.</summary>
/// <param name="Algorithm">AES, or Null.</param>
/// <param name="KeyBits">In bits; 0 where there is none.</param>
/// <param name="Mode">CFB, or Null.</param>
public readonly record struct SymmetricDefinition(TpmAlgorithm Algorithm, ushort KeyBits, TpmAlgorithm Mode)
{
    public static SymmetricDefinition None { get; } = new(TpmAlgorithm.Null, 0, TpmAlgorithm.Null);

    public static SymmetricDefinition Aes128Cfb { get; } = new(TpmAlgorithm.Aes, 128, TpmAlgorithm.Cfb);

    public static SymmetricDefinition Aes256Cfb { get; } = new(TpmAlgorithm.Aes, 256, TpmAlgorithm.Cfb);

    internal static SymmetricDefinition Read(ref TpmReader reader)
    {
        var at = reader.Position;
        var algorithm = (TpmAlgorithm)reader.ReadUInt16();
        return algorithm switch
        {
            TpmAlgorithm.Null => None,
            TpmAlgorithm.Aes => new(algorithm, reader.ReadUInt16(), (TpmAlgorithm)reader.ReadUInt16()),
            _ => throw new TpmFormatException($"symmetric algorithm 0x{(ushort)algorithm:x4} is neither AES nor NULL,", at),
        };
    }

    internal void Write(TpmWriter writer)
    {
        writer.WriteUInt16((ushort)Algorithm);
        if (Algorithm == TpmAlgorithm.Null)
            return;
        writer.WriteUInt16(KeyBits);
        writer.WriteUInt16((ushort)Mode);
    }
}

/// <summary>TPMT_RSA_SCHEME, TPMT_ECC_SCHEME or TPMT_KDF_SCHEME (Part 2, 11.2): an algorithm and its hash, or Null.</summary>
public readonly record struct KeyScheme(TpmAlgorithm Algorithm, TpmAlgorithm Hash)
{
    public static KeyScheme None { get; } = new(TpmAlgorithm.Null, TpmAlgorithm.Null);

    internal static KeyScheme Read(ref TpmReader reader)
    {
        const ushort ecdaa = 0x001A; // carries a count besides its hash; no key of ours uses it
        var at = reader.Position;
        var algorithm = (TpmAlgorithm)reader.ReadUInt16();
        return algorithm switch
        {
            TpmAlgorithm.Null => None,
            TpmAlgorithm.RsaEs => new(algorithm, TpmAlgorithm.Null), // RSAES has no details
            (TpmAlgorithm)ecdaa => throw new TpmFormatException("scheme ECDAA is not supported,", at),
            _ => new(algorithm, (TpmAlgorithm)reader.ReadUInt16()),
        };
    }

    internal void Write(TpmWriter writer)
    {
        writer.WriteUInt16((ushort)Algorithm);
        if (Algorithm is not (TpmAlgorithm.Null or TpmAlgorithm.RsaEs))
            writer.WriteUInt16((ushort)Hash);
    }
}

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
            if (Modulus.Length * 8 != KeyBits || Modulus.Span[0] < 0x80)
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

        /// <summary>The point, for the runtime: coordinates padded to the curve's size.</summary>
        /// <exception cref="CryptographicException">A coordinate is longer than the curve's, or the point is not on it.</exception>
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
        // A TPMT_PUBLIC starts with 0x0001 or 0x0023; no TPM2B_PUBLIC of these keys is that short, so the two never meet.
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

        var nameAt = reader.Position;
        var nameAlgorithm = (TpmAlgorithm)reader.ReadUInt16();
        if (!nameAlgorithm.IsHash())
            throw new TpmFormatException($"nameAlg 0x{(ushort)nameAlgorithm:x4} is no hash this system computes,", nameAt);

        var attributes = (ObjectAttributes)reader.ReadUInt32();
        var policy = reader.ReadSized(MaxPolicy, "authPolicy").ToArray();
        var symmetric = SymmetricDefinition.Read(ref reader);
        var scheme = KeyScheme.Read(ref reader);
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
            Kdf = KeyScheme.Read(ref reader),
            X = reader.ReadSized(MaxCoordinate, "x").ToArray(),
            Y = reader.ReadSized(MaxCoordinate, "y").ToArray(),
        };
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

namespace Keylime.Tpm;

/// <summary>TPMT_RSA_SCHEME, TPMT_ECC_SCHEME or TPMT_KDF_SCHEME (Part 2, 11.2): an algorithm and its hash, or Null.</summary>
public readonly record struct KeyScheme(TpmAlgorithm Algorithm, TpmAlgorithm Hash)
{
    public static KeyScheme None { get; } = new(TpmAlgorithm.Null, TpmAlgorithm.Null);

    // TPMI_ALG_RSA_SCHEME, Part 2, 11.2.4.1
    internal static KeyScheme ReadRsa(ref TpmReader reader) => Read(
        ref reader, "RSA", [TpmAlgorithm.RsaSsa, TpmAlgorithm.RsaEs, TpmAlgorithm.RsaPss, TpmAlgorithm.Oaep]);

    // TPMI_ALG_ECC_SCHEME, Part 2, 11.2.5.4; without ECDAA, which has a count besides its hash, and which no key of ours uses
    internal static KeyScheme ReadEcc(ref TpmReader reader) => Read(
        ref reader, "ECC", [TpmAlgorithm.Ecdsa, TpmAlgorithm.Ecdh, TpmAlgorithm.Sm2, TpmAlgorithm.EcSchnorr, TpmAlgorithm.EcMqv]);

    // TPMI_ALG_KDF, Part 2, 9.32
    internal static KeyScheme ReadKdf(ref TpmReader reader) => Read(
        ref reader, "KDF", [TpmAlgorithm.Mgf1, TpmAlgorithm.Kdf1Sp80056A, TpmAlgorithm.Kdf2, TpmAlgorithm.KdfA]);

    private static KeyScheme Read(ref TpmReader reader, string kind, ReadOnlySpan<TpmAlgorithm> known)
    {
        var at = reader.Position;
        var algorithm = (TpmAlgorithm)reader.ReadUInt16();
        if (algorithm == TpmAlgorithm.Null)
            return None;
        if (!known.Contains(algorithm)) // what follows an unknown scheme has an unknown size
            throw new TpmFormatException($"0x{(ushort)algorithm:x4} is no {kind} scheme that this system knows,", at);
        return algorithm == TpmAlgorithm.RsaEs
            ? new KeyScheme(algorithm, TpmAlgorithm.Null) // RSAES has no details
            : new KeyScheme(algorithm, (TpmAlgorithm)reader.ReadUInt16());
    }

    internal void Write(TpmWriter writer)
    {
        writer.WriteUInt16((ushort)Algorithm);
        if (Algorithm is not (TpmAlgorithm.Null or TpmAlgorithm.RsaEs))
            writer.WriteUInt16((ushort)Hash);
    }
}

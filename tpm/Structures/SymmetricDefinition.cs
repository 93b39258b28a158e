namespace Keylime.Tpm;

/// <summary>TPMT_SYM_DEF_OBJECT (Part 2, 11.1.7); where there is none it is <see cref="None"/>, and <c>default</c> is nothing.</summary>
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
            TpmAlgorithm.Aes => new(algorithm, ReadKeyBits(ref reader), (TpmAlgorithm)reader.ReadUInt16()),
            _ => throw new TpmFormatException($"symmetric algorithm 0x{(ushort)algorithm:x4} is neither AES nor NULL,", at),
        };
    }

    // TPMI_AES_KEY_BITS, Part 2, 11.1.3
    private static ushort ReadKeyBits(ref TpmReader reader)
    {
        var at = reader.Position;
        var bits = reader.ReadUInt16();
        return bits is 128 or 192 or 256 ? bits : throw new TpmFormatException($"an AES key of {bits} bits, not 128, 192 or 256,", at);
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

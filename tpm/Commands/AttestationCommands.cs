namespace Keylime.Tpm.Commands;

/// <summary>TPM2_Quote (Part 3, 18.4).</summary>
/// <param name="Scheme">Null for the key's own.</param>
internal readonly record struct QuoteCommand(uint Key, ReadOnlyMemory<byte> QualifyingData, KeyScheme Scheme, PcrSelection Selection)
    : ITpmCommand<SignedStatement>
{
    public static string Name => "TPM2_Quote";

    public static uint Code => 0x00000158;

    public void WriteHandles(TpmWriter writer) => writer.WriteUInt32(Key);

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(QualifyingData.Span);
        Scheme.Write(writer);
        PcrSelection.WriteList(writer, Selection);
    }

    public static SignedStatement ReadResponse(uint handle, ref TpmReader parameters) => SignedStatement.Read(ref parameters);
}

/// <summary>TPM2_Certify (Part 3, 18.2).</summary>
internal readonly record struct Certify(uint Object, uint Key, ReadOnlyMemory<byte> QualifyingData, KeyScheme Scheme)
    : ITpmCommand<SignedStatement>
{
    public static string Name => "TPM2_Certify";

    public static uint Code => 0x00000148;

    public void WriteHandles(TpmWriter writer)
    {
        writer.WriteUInt32(Object);
        writer.WriteUInt32(Key);
    }

    public void WriteParameters(TpmWriter writer)
    {
        writer.WriteSized(QualifyingData.Span);
        Scheme.Write(writer);
    }

    public static SignedStatement ReadResponse(uint handle, ref TpmReader parameters) => SignedStatement.Read(ref parameters);
}

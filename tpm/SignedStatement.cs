namespace Keylime.Tpm;

/// <summary>What TPM2_Quote and TPM2_Certify answer with, byte for byte.</summary>
/// <param name="Message">TPMS_ATTEST.</param>
/// <param name="Signature">TPMT_SIGNATURE.</param>
public sealed record SignedStatement(ReadOnlyMemory<byte> Message, ReadOnlyMemory<byte> Signature)
{
    internal static SignedStatement Read(ref TpmReader reader)
    {
        var message = reader.ReadSized().ToArray();
        return new SignedStatement(message, TpmSignature.Read(ref reader).Encode());
    }
}

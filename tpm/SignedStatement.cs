namespace Keylime.Tpm;

/// <summary>What TPM2_Quote and TPM2_Certify answer with, byte for byte.</summary>
/// <param name="Message">TPMS_ATTEST.</param>
/// <param name="Signature">TPMT_SIGNATURE.</param>
public sealed record SignedStatement(ReadOnlyMemory<byte> Message, ReadOnlyMemory<byte> Signature)
{
    private const int MaxMessage = 2048; // TPM2B_ATTEST: with 16 PCR banks and the longest names it has less

    internal static SignedStatement Read(ref TpmReader reader)
    {
        var message = reader.ReadSized(MaxMessage, "attest").ToArray();
        var signature = reader.ReadRest().ToArray(); // as it came: a verifier is to see what the TPM sent
        _ = TpmSignature.Parse(signature);
        return new SignedStatement(message, signature);
    }
}

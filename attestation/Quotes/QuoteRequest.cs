using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>What was asked of a TPM.</summary>
public sealed record QuoteRequest
{
    /// <summary>The shortest nonce, in bytes.</summary>
    public const int MinNonce = 16;

    /// <exception cref="ArgumentException">A nonce that is too short, or no PCRs: such a request proves nothing.</exception>
    public QuoteRequest(ReadOnlyMemory<byte> nonce, PcrSelection asked, KeyScheme scheme)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(nonce.Length, MinNonce); // an empty nonce equals an empty nonce
        ArgumentOutOfRangeException.ThrowIfZero(asked.Pcrs.Bits);
        (Nonce, Asked, Scheme) = (nonce, asked, scheme);
    }

    public ReadOnlyMemory<byte> Nonce { get; }

    public PcrSelection Asked { get; }

    /// <summary>Scheme and hash that the quote has to be signed with.</summary>
    public KeyScheme Scheme { get; }
}

/// <summary>What came back: bytes, none of them believed.</summary>
/// <param name="Message">TPMS_ATTEST.</param>
/// <param name="Signature">TPMT_SIGNATURE.</param>
/// <param name="PcrBlob">The values of the PCRs, see <see cref="Tpm.PcrBlob"/>.</param>
public sealed record QuoteEvidence(ReadOnlyMemory<byte> Message, ReadOnlyMemory<byte> Signature, ReadOnlyMemory<byte> PcrBlob);

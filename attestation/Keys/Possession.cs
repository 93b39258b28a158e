using System.Security.Cryptography;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Proof that whoever answers can use the attestation key now: TPM2_Certify of the key by itself, over a challenge.</summary>
public static class Possession
{
    /// <summary>The shortest challenge, in bytes.</summary>
    public const int MinChallenge = 16;

    /// <summary>Decides whether this is such a proof.</summary>
    /// <remarks>
    /// In order, stopping at the first that fails:
    /// <list type="number">
    ///   <item>the signature is a TPMT_SIGNATURE;</item>
    ///   <item>of the key's own scheme and hash;</item>
    ///   <item>the key signed these very bytes;</item>
    ///   <item>they are a TPMS_ATTEST of type certify;</item>
    ///   <item>its qualifying data is our challenge;</item>
    ///   <item>the certified object is the key itself.</item>
    /// </list>
    /// </remarks>
    /// <returns><see langword="null"/> if it is, otherwise the reason why not.</returns>
    public static Finding? Verify(
        AttestationKey key, ReadOnlySpan<byte> challenge, ReadOnlyMemory<byte> message, ReadOnlyMemory<byte> signature)
    {
        ArgumentNullException.ThrowIfNull(key);
        ArgumentOutOfRangeException.ThrowIfLessThan(challenge.Length, MinChallenge); // an empty challenge equals an empty challenge

        if (!TpmSignature.TryParse(signature.Span, out var parsed))
            return new Finding(PossessionSignatureMalformed, "The signature is no TPMT_SIGNATURE of RSASSA, RSAPSS or ECDSA.");

        if (parsed.Scheme != key.Scheme.Algorithm || parsed.Hash != key.Scheme.Hash)
            return new Finding(PossessionSchemeMismatch, $"The proof is signed with {parsed.Scheme} and {parsed.Hash}; the key signs with {key.Scheme.Algorithm} and {key.Scheme.Hash}.");

        if (!key.Verify(message.Span, parsed))
            return new Finding(PossessionSignatureInvalid, "The attestation key did not sign this proof.");

        if (!CertifyStatement.TryParse(message, out var statement))
            return new Finding(PossessionMalformed, "The proof is no TPMS_ATTEST of type certify.");

        if (!CryptographicOperations.FixedTimeEquals(statement.QualifyingData.Span, challenge))
            return new Finding(PossessionChallengeMismatch, "The proof answers another challenge.");

        if (!CryptographicOperations.FixedTimeEquals(statement.Name.Span, key.Name.Span))
            return new Finding(PossessionNameMismatch, "The certified object is not the attestation key.");

        return null;
    }
}

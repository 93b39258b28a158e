using System.Security.Cryptography;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>A boot whose event log a policy had nothing against: as long as the TPM is not reset and these PCRs keep their values, the log need not come again.</summary>
/// <param name="Bank">The bank quoted.</param>
/// <param name="Values">SHA-256 over the values of the policy's PCRs, in the order of their indexes.</param>
/// <param name="ResetCount">Of the quote that proved it.</param>
public sealed record ProvenBoot(TpmAlgorithm Bank, ReadOnlyMemory<byte> Values, uint ResetCount)
{
    internal static ProvenBoot Of(VerifiedQuote quote, PcrSet pcrs)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var pcr in pcrs)
            hash.AppendData(quote.Pcrs[pcr].Span);
        return new ProvenBoot(quote.Pcrs.Bank, hash.GetHashAndReset(), quote.Clock.ResetCount);
    }

    internal bool Is(ProvenBoot other) => Bank == other.Bank && ResetCount == other.ResetCount && Values.Span.SequenceEqual(other.Values.Span);
}

using System.Security.Cryptography;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>One-shot hashes by algorithm, into a span, without allocating: the replay makes three calls for each line.</summary>
internal static class FastHash
{
    public static void Compute(TpmAlgorithm hash, ReadOnlySpan<byte> data, Span<byte> into)
    {
        switch (hash)
        {
            case TpmAlgorithm.Sha1:
#pragma warning disable CA5350 // The kernel's template hash is SHA-1; nothing is trusted for it: PCR 10 of the quoted bank proves the line.
                SHA1.HashData(data, into);
#pragma warning restore CA5350
                break;
            case TpmAlgorithm.Sha256:
                SHA256.HashData(data, into);
                break;
            case TpmAlgorithm.Sha384:
                SHA384.HashData(data, into);
                break;
            case TpmAlgorithm.Sha512:
                SHA512.HashData(data, into);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(hash), hash, "No hash that this system computes.");
        }
    }
}

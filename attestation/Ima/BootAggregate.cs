using System.Security.Cryptography;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>
/// The first entry of every list: the hash of what PCRs 0 to 7, and for other banks than SHA-1 also 8 and 9, held when the kernel started
/// (kernel: security/integrity/ima/ima_crypto.c, ima_calc_boot_aggregate_tfm). Computed from quoted values, so it needs no boot log.
/// </summary>
internal sealed class BootAggregate
{
    private const int Short = 8;
    private const int Long = 10;

    private readonly TpmAlgorithm _bank;
    private readonly byte[]? _short;
    private readonly byte[]? _long;

    public BootAggregate(VerifiedPcrs pcrs)
    {
        _bank = pcrs.Bank;
        (_short, _long) = (Over(pcrs, Short), Over(pcrs, Long));
    }

    public static ReadOnlySpan<byte> Name => "boot_aggregate"u8;

    /// <summary>True if the quote proves this digest. Both lengths count: older kernels took the short one for every bank.</summary>
    public bool Proves(ReadOnlySpan<byte> algorithm, ReadOnlySpan<byte> digest) =>
        IsOfBank(algorithm, digest) && (digest.SequenceEqual(_short) || digest.SequenceEqual(_long));

    /// <summary>True if the quote covers all that any kernel would take, so that another digest is a wrong one.</summary>
    public bool Decides(ReadOnlySpan<byte> algorithm, ReadOnlySpan<byte> digest) => _long is not null && IsOfBank(algorithm, digest);

    public string Expected => $"{_bank.ProtocolName()}:{Convert.ToHexStringLower(_long ?? [])}";

    // Template ima has a digest without a name, which is SHA-1.
    private bool IsOfBank(ReadOnlySpan<byte> algorithm, ReadOnlySpan<byte> digest) =>
        digest.Length == _bank.DigestSize()
        && (algorithm.IsEmpty ? _bank == TpmAlgorithm.Sha1 : System.Text.Ascii.Equals(algorithm, _bank.ProtocolName()));

    private static byte[]? Over(VerifiedPcrs pcrs, int count)
    {
        using var hash = IncrementalHash.CreateHash(pcrs.Bank.HashName());
        for (var pcr = 0; pcr < count; pcr++)
        {
            if (!pcrs.Covered.Contains(pcr))
                return null;
            hash.AppendData(pcrs[pcr].Span);
        }

        return hash.GetHashAndReset();
    }
}

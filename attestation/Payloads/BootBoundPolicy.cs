using System.Collections.Immutable;
using System.Security.Cryptography;
using Keylime.Tpm;

namespace Keylime.Attestation.Payloads;

/// <summary>
/// What has to hold in a TPM for it to unseal: PCRs as a verdict found them, no boot since, and not after a time of the TPM's own clock.
/// PolicyPCR, then PolicyCounterTimer on resetCount, then on clock (TPM 2.0 Part 3, 23.7 and 23.11).
/// </summary>
public sealed class BootBoundPolicy
{
    private readonly ReadOnlyMemory<byte> _values;

    /// <param name="bank">The PCRs' bank.</param>
    /// <param name="values">Of each PCR, as verified; at least one, each of the bank's size.</param>
    /// <param name="resetCount">Of the boot whose verdict it was.</param>
    /// <param name="clock">In milliseconds of the TPM's clock: it unseals before that.</param>
    /// <exception cref="ArgumentException">There is no PCR, or a value is none of the bank: what nothing guards is not sealed.</exception>
    public BootBoundPolicy(TpmAlgorithm bank, IReadOnlyDictionary<int, ReadOnlyMemory<byte>> values, uint resetCount, ulong clock)
    {
        ArgumentNullException.ThrowIfNull(values);
        if (values.Count == 0)
            throw new ArgumentException("At least one PCR is expected.", nameof(values));
        foreach (var (pcr, value) in values)
        {
            if (value.Length != bank.DigestSize())
                throw new ArgumentException($"PCR {pcr} of {value.Length} bytes, {bank.DigestSize()} are expected in a bank of {bank.ProtocolName()}.", nameof(values));
        }

        Selection = new PcrSelection(bank, PcrSet.Of([.. values.Keys]));
        _values = values.OrderBy(static v => v.Key).SelectMany(static v => v.Value.ToArray()).ToArray();
        (ResetCount, Clock) = (resetCount, clock);
    }

    public PcrSelection Selection { get; }

    public uint ResetCount { get; }

    /// <summary>In milliseconds.</summary>
    public ulong Clock { get; }

    /// <summary>The policy's digest.</summary>
    /// <param name="hash">The name hash of the key that it is sealed to.</param>
    public byte[] Digest(TpmAlgorithm hash) => PolicyStep.DigestOf(Steps(hash), hash);

    /// <summary>Seals data to the TPM with this endorsement key, under this policy.</summary>
    /// <exception cref="ArgumentException">The key cannot be a parent, or there is too much data.</exception>
    public WrappedSecret Seal(PublicArea endorsementKey, ReadOnlySpan<byte> data)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        return RemoteSeal.Wrap(endorsementKey, Digest(endorsementKey.NameAlgorithm), data);
    }

    private ImmutableArray<PolicyStep> Steps(TpmAlgorithm hash) =>
    [
        new PolicyStep.Pcrs(Selection, CryptographicOperations.HashData(hash.HashName(), _values.Span)),
        PolicyStep.ResetCountIs(ResetCount),
        PolicyStep.ClockBefore(Clock),
    ];
}

using System.Buffers;
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm;

/// <summary>TPM_EO (Part 2, 6.8): how a value of the TPM's is compared, in those that we use.</summary>
public enum TpmComparison : ushort
{
    Equal = 0x0000,
    UnsignedLess = 0x0005,
}

/// <summary>
/// One assertion of a policy (Part 1, 19.7). Whoever seals computes from the steps the digest that the object gets; whoever unseals has the TPM assert
/// the same steps.
/// </summary>
public abstract record PolicyStep
{
    private const ushort ClockOffset = sizeof(ulong);                    // in TPMS_TIME_INFO (Part 2, 10.11.6): behind time
    private const ushort ResetCountOffset = ClockOffset + sizeof(ulong); // behind clock, the first of TPMS_CLOCK_INFO

    private PolicyStep()
    {
    }

    /// <summary>TPM2_PolicyPCR (Part 3, 23.7).</summary>
    /// <param name="Digest">Over the values wanted, in ascending order of the PCRs, by the hash of the policy; empty, for a TPM alone, for those that it has.</param>
    public sealed record Pcrs(PcrSelection Selection, ReadOnlyMemory<byte> Digest) : PolicyStep;

    /// <summary>TPM2_PolicyCounterTimer (Part 3, 23.11).</summary>
    public sealed record CounterTimer(ReadOnlyMemory<byte> Operand, ushort Offset, TpmComparison Comparison) : PolicyStep;

    /// <summary>TPM2_PolicyCommandCode (Part 3, 23.12).</summary>
    public sealed record CommandCode(uint Code) : PolicyStep;

    /// <summary>That it is to be unsealed, and nothing else.</summary>
    public static PolicyStep OnlyUnseal { get; } = new CommandCode(Unseal.Code);

    /// <summary>That the machine has not been booted anew.</summary>
    public static PolicyStep ResetCountIs(uint count)
    {
        var operand = new byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(operand, count);
        return new CounterTimer(operand, ResetCountOffset, TpmComparison.Equal);
    }

    /// <summary>That the TPM's clock is before this, in milliseconds.</summary>
    public static PolicyStep ClockBefore(ulong clock)
    {
        var operand = new byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(operand, clock);
        return new CounterTimer(operand, ClockOffset, TpmComparison.UnsignedLess);
    }

    /// <summary>What a TPM's policyDigest is after these steps.</summary>
    /// <exception cref="ArgumentException">The digest over PCR values is none of this hash.</exception>
    public static byte[] DigestOf(ImmutableArray<PolicyStep> steps, TpmAlgorithm hash)
    {
        var digest = new byte[hash.DigestSize()]; // a policy session begins with zeros (Part 1, 19.7.1)
        foreach (var step in steps)
        {
            var extended = new ArrayBufferWriter<byte>();
            var writer = new TpmWriter(extended);
            writer.WriteBytes(digest);
            step.Write(writer, hash);
            digest = CryptographicOperations.HashData(hash.HashName(), extended.WrittenSpan);
        }

        return digest;
    }

    // What the policyDigest is extended with: the command's code and what Part 3 has for it.
    private void Write(TpmWriter writer, TpmAlgorithm hash)
    {
        switch (this)
        {
            case Pcrs pcrs when pcrs.Digest.Length != hash.DigestSize():
                throw new ArgumentException($"A digest over PCR values of {hash.DigestSize()} bytes is expected, not of {pcrs.Digest.Length}.", nameof(hash));
            case Pcrs pcrs: // 23.7.1
                writer.WriteUInt32(PolicyPcr.Code);
                PcrSelection.WriteList(writer, pcrs.Selection);
                writer.WriteBytes(pcrs.Digest.Span);
                break;
            case CounterTimer timer: // 23.11.1
                var compared = new ArrayBufferWriter<byte>();
                var arguments = new TpmWriter(compared);
                arguments.WriteBytes(timer.Operand.Span);
                arguments.WriteUInt16(timer.Offset);
                arguments.WriteUInt16((ushort)timer.Comparison);
                writer.WriteUInt32(PolicyCounterTimer.Code);
                writer.WriteBytes(CryptographicOperations.HashData(hash.HashName(), compared.WrittenSpan));
                break;
            case CommandCode command: // 23.12.1
                writer.WriteUInt32(PolicyCommandCode.Code);
                writer.WriteUInt32(command.Code);
                break;
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }
}

using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Formats.Asn1;

namespace Keylime.Tpm;

/// <summary>
/// Certificates as NV indices hold them: one after the other; in an index that is larger, with anything behind them; with a length in front, or
/// in TCG's stored-certificate structure of older TPMs; and not always in DER to the letter.
/// </summary>
public static class NvCertificates
{
    private const byte Sequence = 0x30;
    private const ushort StoredCertificate = 0x1001; // TCG_TAG_PCCLIENT_STORED_CERT (PC Client Implementation Specification 1.2, 7.4.5)
    private const ushort FullCertificate = 0x1002;   // TCG_TAG_PCCLIENT_FULL_CERT
    private const int MaxCertificates = 16;

    /// <summary>The certificates in an index's data, each without what is around it.</summary>
    /// <exception cref="TpmFormatException">One of them is cut off.</exception>
    public static ImmutableArray<ReadOnlyMemory<byte>> Split(ReadOnlyMemory<byte> data) => Split([data]);

    /// <summary>
    /// The same of several indices in their order: a certificate may go on in the next index, and each index may be larger than what is in it
    /// (TCG EK Credential Profile 2.4).
    /// </summary>
    /// <exception cref="TpmFormatException">The last one is cut off.</exception>
    public static ImmutableArray<ReadOnlyMemory<byte>> Split(IReadOnlyList<ReadOnlyMemory<byte>> indices)
    {
        ArgumentNullException.ThrowIfNull(indices);
        var certificates = ImmutableArray.CreateBuilder<ReadOnlyMemory<byte>>();
        var (begun, position) = (ReadOnlyMemory<byte>.Empty, 0);
        foreach (var index in indices)
        {
            ReadOnlyMemory<byte> rest = begun.IsEmpty ? index[PrefixSize(index.Span)..] : (byte[])[.. begun.Span, .. index.Span];
            position += index.Length;
            for (begun = default; !rest.IsEmpty && rest.Span[0] == Sequence && certificates.Count < MaxCertificates;)
            {
                if (!TryReadSize(rest.Span, out var size))
                {
                    begun = rest;
                    break;
                }

                certificates.Add(rest[..size]);
                rest = rest[size..];
            }
        }

        return begun.IsEmpty
            ? certificates.ToImmutable()
            : throw new TpmFormatException("a certificate that is cut off or no ASN.1", position - begun.Length);
    }

    // In front of the certificate: nothing; a 16 or 32-bit length; or the structure: tag, type, 16-bit size, inner tag.
    private static int PrefixSize(ReadOnlySpan<byte> data)
    {
        const int stored = 2 + 1 + 2;
        if (data.Length > stored + 2 && BinaryPrimitives.ReadUInt16BigEndian(data) == StoredCertificate)
            return BinaryPrimitives.ReadUInt16BigEndian(data[stored..]) == FullCertificate ? stored + 2 : stored;

        if (!data.IsEmpty && data[0] == Sequence)
            return 0; // also where it is cut off: no length in front looks so, for no certificate is that long
        foreach (var prefix in (ReadOnlySpan<int>)[sizeof(ushort), sizeof(uint)])
        {
            if (data.Length > prefix && data[prefix] == Sequence && TryReadSize(data[prefix..], out var size) && LengthOf(data[..prefix]) >= (uint)size)
                return prefix;
        }

        return 0;
    }

    private static uint LengthOf(ReadOnlySpan<byte> prefix) =>
        prefix.Length == sizeof(ushort) ? BinaryPrimitives.ReadUInt16BigEndian(prefix) : BinaryPrimitives.ReadUInt32BigEndian(prefix);

    private static bool TryReadSize(ReadOnlySpan<byte> data, out int size)
    {
        try
        {
            return AsnDecoder.TryReadEncodedValue(data, AsnEncodingRules.BER, out _, out _, out _, out size);
        }
        catch (AsnContentException) // an indefinite length without its end
        {
            size = 0;
            return false;
        }
    }
}

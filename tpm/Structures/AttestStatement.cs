using System.Buffers;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace Keylime.Tpm;

/// <summary>
/// TPMS_ATTEST (Part 2, 10.12.12): what a TPM says of itself, over data that a challenger chose.
/// Parsing proves its shape and nothing else; who said it is for a signature to tell.
/// </summary>
public abstract class AttestStatement
{
    private protected const uint GeneratedValue = 0xFF544347; // TPM_GENERATED_VALUE, Part 2, 6.2
    internal const int MaxName = 2 + TpmAlgorithms.MaxDigestSize;
    private protected const int MaxData = 2 + TpmAlgorithms.MaxDigestSize; // TPM2B_DATA: sizeof(TPMT_HA)

    private protected AttestStatement()
    {
    }

    /// <summary>The bytes as they came: the signature is over these, never over a re-encoding.</summary>
    public required ReadOnlyMemory<byte> Encoded { get; init; }

    /// <summary>The qualified name of the key that signed; it names the hierarchy too, so no caller can predict it.</summary>
    public required ReadOnlyMemory<byte> QualifiedSigner { get; init; }

    /// <summary>extraData: the challenge.</summary>
    public required ReadOnlyMemory<byte> QualifyingData { get; init; }

    public required ClockInfo Clock { get; init; }

    public required ulong FirmwareVersion { get; init; }

    private protected readonly record struct Header(
        ReadOnlyMemory<byte> Signer, ReadOnlyMemory<byte> Data, ClockInfo Clock, ulong Firmware);

    private protected static Header ReadHeader(ref TpmReader reader, ushort type)
    {
        // The TPM signs no outside data that starts with this value, so a statement that does is a TPM's own.
        reader.Expect(GeneratedValue, "magic");
        reader.Expect(type, "type");
        return new Header(
            reader.ReadSized(MaxName, "qualifiedSigner").ToArray(),
            reader.ReadSized(MaxData, "extraData").ToArray(),
            ClockInfo.Read(ref reader),
            reader.ReadUInt64());
    }

    private protected static void WriteHeader(TpmWriter writer, ushort type, Header header)
    {
        writer.WriteUInt32(GeneratedValue);
        writer.WriteUInt16(type);
        writer.WriteSized(header.Signer.Span);
        writer.WriteSized(header.Data.Span);
        header.Clock.Write(writer);
        writer.WriteUInt64(header.Firmware);
    }
}

/// <summary>A TPMS_ATTEST of type quote, with its TPMS_QUOTE_INFO (Part 2, 10.12.4): what a TPM says of its PCRs.</summary>
public sealed class QuoteStatement : AttestStatement
{
    private const ushort AttestQuote = 0x8018; // TPM_ST_ATTEST_QUOTE, Part 2, 6.9

    public required ImmutableArray<PcrSelection> Selections { get; init; }

    public required ReadOnlyMemory<byte> PcrDigest { get; init; }

    public static bool TryParse(ReadOnlyMemory<byte> encoded, [NotNullWhen(true)] out QuoteStatement? statement)
    {
        try
        {
            statement = Parse(encoded);
            return true;
        }
        catch (TpmFormatException)
        {
            statement = null;
            return false;
        }
    }

    /// <exception cref="TpmFormatException">The bytes are no quote.</exception>
    public static QuoteStatement Parse(ReadOnlyMemory<byte> encoded)
    {
        var reader = new TpmReader(encoded.Span);
        var header = ReadHeader(ref reader, AttestQuote);
        var selections = PcrSelection.ReadList(ref reader);
        var digest = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "pcrDigest").ToArray();
        reader.ExpectEnd();

        return new QuoteStatement
        {
            Encoded = encoded,
            QualifiedSigner = header.Signer,
            QualifyingData = header.Data,
            Clock = header.Clock,
            FirmwareVersion = header.Firmware,
            Selections = selections,
            PcrDigest = digest,
        };
    }

    /// <summary>Encodes the fields anew: what a software TPM signs.</summary>
    public static byte[] Encode(
        ReadOnlyMemory<byte> qualifiedSigner, ReadOnlyMemory<byte> qualifyingData, ClockInfo clock, ulong firmwareVersion,
        ReadOnlySpan<PcrSelection> selections, ReadOnlySpan<byte> pcrDigest)
    {
        var output = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(output);
        WriteHeader(writer, AttestQuote, new Header(qualifiedSigner, qualifyingData, clock, firmwareVersion));
        PcrSelection.WriteList(writer, selections);
        writer.WriteSized(pcrDigest);
        return output.WrittenSpan.ToArray();
    }
}

/// <summary>A TPMS_ATTEST of type certify, with its TPMS_CERTIFY_INFO (Part 2, 10.12.3): this object is in this TPM.</summary>
public sealed class CertifyStatement : AttestStatement
{
    private const ushort AttestCertify = 0x8017; // TPM_ST_ATTEST_CERTIFY, Part 2, 6.9

    /// <summary>The name of the certified object.</summary>
    public required ReadOnlyMemory<byte> Name { get; init; }

    public required ReadOnlyMemory<byte> QualifiedName { get; init; }

    public static bool TryParse(ReadOnlyMemory<byte> encoded, [NotNullWhen(true)] out CertifyStatement? statement)
    {
        try
        {
            statement = Parse(encoded);
            return true;
        }
        catch (TpmFormatException)
        {
            statement = null;
            return false;
        }
    }

    /// <exception cref="TpmFormatException">The bytes are no certification.</exception>
    public static CertifyStatement Parse(ReadOnlyMemory<byte> encoded)
    {
        var reader = new TpmReader(encoded.Span);
        var header = ReadHeader(ref reader, AttestCertify);
        var name = reader.ReadSized(MaxName, "name").ToArray();
        var qualifiedName = reader.ReadSized(MaxName, "qualifiedName").ToArray();
        reader.ExpectEnd();

        return new CertifyStatement
        {
            Encoded = encoded,
            QualifiedSigner = header.Signer,
            QualifyingData = header.Data,
            Clock = header.Clock,
            FirmwareVersion = header.Firmware,
            Name = name,
            QualifiedName = qualifiedName,
        };
    }

    /// <summary>Encodes the fields anew: what a software TPM signs.</summary>
    public static byte[] Encode(
        ReadOnlyMemory<byte> qualifiedSigner, ReadOnlyMemory<byte> qualifyingData, ClockInfo clock, ulong firmwareVersion,
        ReadOnlySpan<byte> name, ReadOnlySpan<byte> qualifiedName)
    {
        var output = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(output);
        WriteHeader(writer, AttestCertify, new Header(qualifiedSigner, qualifyingData, clock, firmwareVersion));
        writer.WriteSized(name);
        writer.WriteSized(qualifiedName);
        return output.WrittenSpan.ToArray();
    }
}

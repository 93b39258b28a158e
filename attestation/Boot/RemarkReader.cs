using System.Collections.Immutable;
using System.Text;
using Keylime.Tpm;
using static Keylime.Attestation.BootEventData;

namespace Keylime.Attestation;

/// <summary>The data of an EV_NO_ACTION (PFP 1.06, 10.4.5): sixteen bytes that say what they are, and that.</summary>
internal static class RemarkReader
{
    private const int SignatureSize = 16;

    /// <summary>True for the event that a crypto-agile log starts with, well formed or not.</summary>
    public static bool IsAgile(BootEvent first) => first.IsRemark && first.Data.Span.StartsWith("Spec ID Event03\0"u8);

    public static BootEventData Read(ReadOnlyMemory<byte> data)
    {
        if (data.Length < SignatureSize)
            return new Unknown();

        var reader = new BootReader(data);
        var signature = reader.ReadBytes(SignatureSize).Span;
        if (signature.SequenceEqual("Spec ID Event03\0"u8))
            return ReadSpecId(ref reader, agile: true);
        if (signature.SequenceEqual("Spec ID Event02\0"u8) || signature.SequenceEqual("Spec ID Event00\0"u8))
            return ReadSpecId(ref reader, agile: false);
        if (signature.SequenceEqual("StartupLocality\0"u8))
            return ReadLocality(ref reader);
        if (signature.SequenceEqual("SP800-155 Event\0"u8))
            return ReadSp800155(ref reader, form: 1);
        if (signature.SequenceEqual("SP800-155 Event2"u8))
            return ReadSp800155(ref reader, form: 2);
        if (signature.SequenceEqual("SP800-155 Event3"u8))
            return ReadSp800155(ref reader, form: 3);
        if (signature.SequenceEqual("H-CRTM CompMeas\0"u8))
            return ReadComponent(ref reader);
        return new Remark(Printable(signature));
    }

    private static SpecId ReadSpecId(ref BootReader reader, bool agile)
    {
        var platform = reader.ReadUInt32();
        var (minor, major, errata, uintn) = (reader.ReadUInt8(), reader.ReadUInt8(), reader.ReadUInt8(), reader.ReadUInt8());
        var banks = agile ? ReadBanks(ref reader) : [];
        var vendor = reader.ReadShort();
        reader.ExpectEnd();
        return new SpecId(platform, major, minor, errata, uintn, banks, vendor);
    }

    private static ImmutableArray<(TpmAlgorithm Bank, int Size)> ReadBanks(ref BootReader reader)
    {
        var at = reader.Position;
        var count = reader.ReadUInt32();
        if (count is 0 or > BootLog.MaxDigests)
            BootReader.Throw($"{count} banks, 1 to {BootLog.MaxDigests} are expected,", at);

        var banks = ImmutableArray.CreateBuilder<(TpmAlgorithm Bank, int Size)>((int)count);
        for (var i = 0u; i < count; i++)
        {
            at = reader.Position;
            var (bank, size) = ((TpmAlgorithm)reader.ReadUInt16(), reader.ReadUInt16());
            if (bank.IsHash() ? size != bank.DigestSize() : size is 0 or > TpmAlgorithms.MaxDigestSize)
                BootReader.Throw($"digests of {size} bytes for algorithm 0x{(ushort)bank:x4}", at);
            if (banks.Any(other => other.Bank == bank))
                BootReader.Throw($"algorithm 0x{(ushort)bank:x4} a second time", at);
            banks.Add((bank, size));
        }

        return banks.MoveToImmutable();
    }

    private static StartupLocality ReadLocality(ref BootReader reader)
    {
        var at = reader.Position;
        var locality = reader.ReadUInt8();
        if (locality > 4) // Part 1, 17.2: localities 0 to 4
            BootReader.Throw($"locality {locality}, 4 at most,", at);
        reader.ExpectEnd();
        return new StartupLocality(locality);
    }

    private static Sp800155 ReadSp800155(ref BootReader reader, int form)
    {
        var remark = new Sp800155 { Form = form, VendorId = reader.ReadUInt32(), ReferenceManifest = reader.ReadGuid() };
        if (form > 1)
        {
            remark = remark with
            {
                PlatformManufacturer = Text(ref reader),
                PlatformModel = Text(ref reader),
                PlatformVersion = Text(ref reader),
                FirmwareManufacturer = Text(ref reader),
                FirmwareManufacturerId = reader.ReadUInt32(),
                FirmwareVersion = Text(ref reader),
            };
        }

        if (form > 2)
        {
            remark = remark with { LocatorType = reader.ReadUInt32(), Locator = reader.ReadBytes(reader.ReadUInt32()) };
            _ = reader.ReadUInt32(); // the same of the platform certificate
            _ = reader.ReadBytes(reader.ReadUInt32());
        }

        var at = reader.Position;
        if (reader.ReadRest().Span.ContainsAnyExcept((byte)0)) // filled up to a multiple of eight bytes or more
            BootReader.Throw("bytes other than zeros behind the remark", at);
        return remark;
    }

    private static HcrtmComponent ReadComponent(ref BootReader reader)
    {
        var description = Text(ref reader);
        var type = reader.ReadUInt8();
        var measurement = reader.ReadShort();
        reader.ExpectEnd();
        return new HcrtmComponent(description, type, measurement);
    }

    private static string Text(ref BootReader reader)
    {
        var bytes = reader.ReadShort().Span;
        return BootText.TryReadUtf8(bytes, out var text) ? text : Printable(bytes);
    }

    private static string Printable(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder();
        foreach (var one in bytes.TrimEnd((byte)0))
            text.Append(one is >= 0x20 and < 0x7f ? ((char)one).ToString() : $"\\x{one:x2}");
        return text.ToString();
    }
}

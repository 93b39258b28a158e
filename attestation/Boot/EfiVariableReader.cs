using System.Buffers.Binary;
using System.Collections.Immutable;
using static Keylime.Attestation.EfiVariableContent;

namespace Keylime.Attestation;

/// <summary>UEFI_VARIABLE_DATA (PFP 1.06, 10.2.6), and the variables whose values are known.</summary>
internal static class EfiVariableReader
{
    private const int MaxName = 1024;
    private const int MaxPaths = 64;
    private const int MaxSlack = 8; // what old versions of shim wrote behind an authority's value: padding, and a byte that they did not even measure

    public static BootEventData.EfiVariable Read(uint type, ReadOnlyMemory<byte> data)
    {
        var reader = new BootReader(data);
        var vendor = reader.ReadGuid();
        var nameLength = reader.ReadUInt64();
        if (nameLength > MaxName)
            BootReader.Throw($"a variable's name of {nameLength} characters, {MaxName} at most,", 16);
        var valueLength = reader.ReadUInt64();
        var name = BootText.ReadUtf16(reader.ReadBytes(2 * nameLength).Span);
        var offset = reader.Position;
        var value = reader.ReadBytes(valueLength);
        if (type != BootEventTypes.VariableAuthority || reader.Left > MaxSlack)
            reader.ExpectEnd();
        return new BootEventData.EfiVariable(vendor, name, value, Content(type, vendor, name, value)) { ValueOffset = offset };
    }

    private static EfiVariableContent Content(uint type, Guid vendor, string name, ReadOnlyMemory<byte> value)
    {
        try
        {
            return type switch
            {
                BootEventTypes.VariableAuthority => ReadAuthority(vendor, name, value),
                BootEventTypes.VariableBoot or BootEventTypes.VariableBoot2 => ReadBoot(vendor, name, value),
                _ => ReadConfiguration(vendor, name, value),
            };
        }
        catch (BootFormatException e)
        {
            return new EfiVariableContent.Malformed($"{name}: {e.Message}");
        }
    }

    private static EfiVariableContent ReadConfiguration(Guid vendor, string name, ReadOnlyMemory<byte> value)
    {
        if (vendor == EfiGuids.GlobalVariable)
        {
            return name switch
            {
                "SecureBoot" or "SetupMode" or "AuditMode" or "DeployedMode" or "VendorKeys" => ReadFlag(value),
                "PK" or "KEK" => SignatureListReader.Read(value),
                "BootOrder" or "DriverOrder" or "SysPrepOrder" => ReadOrder(value),
                _ => IsOption(name) ? ReadOption(value) : new Opaque(),
            };
        }

        if (vendor == EfiGuids.ImageSecurityDatabase && name is "db" or "dbx" or "dbt" or "dbr")
            return SignatureListReader.Read(value);
        if (vendor == EfiGuids.ShimLock)
            return ReadShim(name, value);
        return new Opaque();
    }

    // A boot variable is one of the global vendor; the same name of another vendor is something else.
    private static EfiVariableContent ReadBoot(Guid vendor, string name, ReadOnlyMemory<byte> value) => ReadConfiguration(vendor, name, value);

    private static EfiVariableContent ReadShim(string name, ReadOnlyMemory<byte> value) => name switch
    {
        "MokListTrusted" or "MokListTrustedRT" or "MokSBState" or "MokSBStateRT" => ReadFlag(value),
        "SbatLevel" or "SbatLevelRT" => new Text(BootText.ReadUtf8(value.Span)),
        "MokList" or "MokListX" or "MokListRT" or "MokListXRT" => SignatureListReader.Read(value),
        _ => new Opaque(),
    };

    // PFP 1.06, 3.3.4.8: the EFI_SIGNATURE_DATA of the entry that the image was verified with; shim writes the rest.
    private static EfiVariableContent ReadAuthority(Guid vendor, string name, ReadOnlyMemory<byte> value)
    {
        if (vendor == EfiGuids.ShimLock && name is "MokListTrusted" or "SbatLevel" or "SbatLevelRT" or "MokSBState")
            return ReadShim(name, value);

        if (IsCertificate(value.Span))
            return new Authority(new EfiSignature(Guid.Empty, value)); // old versions of shim left the owner out

        var reader = new BootReader(value);
        var owner = reader.ReadGuid();
        if (reader.AtEnd)
            BootReader.Throw("an owner without signature data", reader.Position);
        return new Authority(new EfiSignature(owner, reader.ReadRest()));
    }

    // A DER SEQUENCE of a two-byte length that takes up the value to its end.
    private static bool IsCertificate(ReadOnlySpan<byte> value) =>
        value is [0x30, 0x82, _, _, 0x30, ..] && BinaryPrimitives.ReadUInt16BigEndian(value[2..]) == value.Length - 4;

    // A variable that is not there is measured with no value: off.
    private static Flag ReadFlag(ReadOnlyMemory<byte> value) => value.Span switch
    {
        [] or [0] => new Flag(false),
        [1] => new Flag(true),
        _ => throw new BootFormatException($"{value.Length} bytes where one, 0 or 1, is expected", 0),
    };

    private static BootOrder ReadOrder(ReadOnlyMemory<byte> value)
    {
        if (value.Length % sizeof(ushort) != 0)
            BootReader.Throw($"{value.Length} bytes, which are no 16-bit numbers", 0);
        var options = ImmutableArray.CreateBuilder<ushort>(value.Length / sizeof(ushort));
        for (var at = 0; at < value.Length; at += sizeof(ushort))
            options.Add(BinaryPrimitives.ReadUInt16LittleEndian(value.Span[at..]));
        return new BootOrder(options.MoveToImmutable());
    }

    private static BootOption ReadOption(ReadOnlyMemory<byte> value)
    {
        var reader = new BootReader(value);
        var (attributes, pathLength) = (reader.ReadUInt32(), reader.ReadUInt16());
        var start = reader.Position;
        while (reader.ReadUInt16() != 0)
        {
            // to the NUL behind the description
        }

        var description = BootText.ReadUtf16(value.Span[start..reader.Position]);
        var part = reader.ReadPart(pathLength);
        var paths = ImmutableArray.CreateBuilder<EfiDevicePath>();
        while (!part.AtEnd)
        {
            if (paths.Count == MaxPaths)
                BootReader.Throw($"more than {MaxPaths} device paths", part.Position);
            paths.Add(DevicePathReader.ReadOne(ref part));
        }

        return new BootOption(attributes, description, paths.DrainToImmutable(), reader.ReadRest()) { PathListLength = pathLength };
    }

    // UEFI 2.10, 3.1.3: Boot####, four upper-case hexadecimal digits; firmware writes lower-case ones as well.
    private static bool IsOption(string name)
    {
        foreach (var prefix in (ReadOnlySpan<string>)["Boot", "Driver", "SysPrep", "PlatformRecovery"])
        {
            if (name.StartsWith(prefix, StringComparison.Ordinal) && name.Length == prefix.Length + 4 && name.AsSpan(prefix.Length).IndexOfAnyExcept(HexDigits) < 0)
                return true;
        }

        return false;
    }

    private static readonly System.Buffers.SearchValues<char> HexDigits = System.Buffers.SearchValues.Create("0123456789abcdefABCDEF");
}

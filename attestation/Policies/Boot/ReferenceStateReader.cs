using System.Collections.Immutable;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Reads Keylime's measured-boot reference state. Members that nobody knows are allowed, as upstream allows them; those it knows are checked.</summary>
internal static class ReferenceStateReader
{
    private const string HexPrefix = "0x";

    /// <exception cref="JsonException">It is no reference state, or one that no boot could ever satisfy.</exception>
    public static ReferenceState Read(BootJson root)
    {
        root.ExpectObject();
        var secureBoot = root.Optional("has_secureboot")?.Flag() ?? true;
        var warnings = ImmutableArray.CreateBuilder<string>();
        warnings.Add("$: a reference state tells kernel, initrd and GRUB's files in PCR 9 apart by their names, and names are not measured: whoever controls GRUB's configuration can call any file '/grub'. Event rules go by digests.");
        if (!secureBoot)
            warnings.Add("$.has_secureboot: false: whoever can write to the disk chooses what boots; only digests tell.");

        return new ReferenceState
        {
            SecureBoot = secureBoot,
            Firmware = [.. root.Member("scrtm_and_bios").SomeItems().Select(ReadFirmware)],
            Kernels = [.. root.Member("kernels").SomeItems().Select(k => ReadKernel(k, secureBoot))],
            PlatformKeys = ReadKeys(root.Member("pk")),
            ExchangeKeys = ReadKeys(root.Member("kek")),
            Allowed = ReadKeys(root.Member("db")),
            Forbidden = ReadKeys(root.Member("dbx")),
            Vendor = root.Optional("vendor_db") is { } vendor ? ReadKeys(vendor) : [],
            Mok = ReadDigests(root.Member("mokdig")),
            MokX = ReadDigests(root.Member("mokxdig")),
            Warnings = warnings.DrainToImmutable(),
        };
    }

    private static ReferenceFirmware ReadFirmware(BootJson json)
    {
        json.ExpectObject();
        return new ReferenceFirmware(ReadDigest(json.Member("scrtm")), [.. json.Member("platform_firmware").Items().Select(ReadDigest)]);
    }

    private static ReferenceKernel ReadKernel(BootJson json, bool secureBoot)
    {
        json.ExpectObject();
        var line = json.Member("kernel_cmdline");
        // Upstream's rule is Python's fullmatch of this text with the pattern behind it, so the text is part of the pattern here too.
        if (!PatternList.TryCreate([line.Text()], PatternExtent.Whole, line.Path, out var pattern, out var error)
            || !PatternList.TryCreate([$"kernel_cmdline: {line.Text()}"], PatternExtent.Whole, line.Path, out pattern, out error))
        {
            throw new JsonException(error);
        }

        return new ReferenceKernel(
            ReadHex(json.Member("shim_authcode_sha256"), 32),
            ReadHex(json.Member("grub_authcode_sha256"), 32),
            ReadHex(json.Member(secureBoot ? "kernel_authcode_sha256" : "vmlinuz_plain_sha256"), 32),
            ReadHex(json.Member("initrd_plain_sha256"), 32),
            pattern,
            line.Text());
    }

    private static ImmutableHashSet<string> ReadKeys(BootJson json)
    {
        var keys = ImmutableHashSet.CreateBuilder<string>();
        foreach (var item in json.Items())
        {
            item.ExpectObject();
            var owner = item.Member("SignatureOwner");
            if (!Guid.TryParseExact(owner.Text(), "D", out var guid))
                throw owner.Wrong("a GUID");
            keys.Add(ReferenceState.Entry(guid, Convert.FromHexString(ReadHex(item.Member("SignatureData"), null))));
        }

        return keys.ToImmutable();
    }

    private static BootDigestSet ReadDigests(BootJson json)
    {
        var set = new BootDigestSet();
        foreach (var item in json.Items())
            ReadDigest(item, set);
        return set;
    }

    private static BootDigestSet ReadDigest(BootJson json)
    {
        var set = new BootDigestSet();
        ReadDigest(json, set);
        return set;
    }

    // A digest is an object of algorithm to hex. Of algorithms that this system does not compute there is nothing to compare.
    private static void ReadDigest(BootJson json, BootDigestSet set)
    {
        var any = false;
        foreach (var (name, value) in json.Members())
        {
            if (BootDigestSet.TryBank(name, out var bank))
                set.Add(bank, ReadHex(value, bank.DigestSize()));
            else
                _ = ReadHex(value, null);
            any = true;
        }

        if (!any)
            throw new JsonException($"{json.Path}: it lists no digest, so no event could match it.");
    }

    private static string ReadHex(BootJson json, int? bytes)
    {
        var text = json.Text();
        var hex = text.StartsWith(HexPrefix, StringComparison.Ordinal) ? text[HexPrefix.Length..] : "";
        return hex.Length > 0 && BootDigestSet.IsHex(hex, bytes ?? hex.Length / 2)
            ? hex
            : throw new JsonException($"{json.Path}: 0x and {(bytes is { } size ? $"{2 * size}" : "an even number of")} lower-case hex digits are expected.");
    }
}

using System.Collections.Immutable;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Reads our boot policy. It is strict: a member that it does not know is an error, because a rule that is not understood is a rule that does not hold.</summary>
internal static partial class EventRulesReader
{
    private const int Version = 1;

    /// <exception cref="JsonException">What, where, and what was expected.</exception>
    public static EventRules Read(BootJson root)
    {
        root.ExpectObject("version", "about", "pcrs", "events");
        _ = root.Member("version").Number(Version, Version);
        _ = root.Optional("about")?.Words();
        var pcrs = ReadPcrs(root.Member("pcrs"));
        var events = root.Member("events");
        events.ExpectObject("secure-boot", "firmware", "databases", "variables", "boot", "loader-commands", "measured", "volatile");

        var rules = new EventRules
        {
            Pcrs = pcrs,
            SecureBoot = events.Optional("secure-boot") is { } secure ? ReadSecureBoot(Within(secure, pcrs, 7)) : null,
            Firmware = [.. events.Optional("firmware") is { } firmware ? Within(firmware, pcrs, 0).SomeItems().Select(ReadFirmware) : []],
            Databases = [.. events.Optional("databases") is { } databases ? databases.Members().Select(m => ReadDatabase(m.Key, m.Value, pcrs)) : []],
            Variables = [.. events.Optional("variables")?.SomeItems().Select(v => ReadVariable(v, pcrs)) ?? []],
            Boot = [.. events.Optional("boot")?.SomeItems().Select(b => ReadChain(b, pcrs)) ?? []],
            LoaderCommands = events.Optional("loader-commands") is { } commands ? ReadTexts(Within(commands, pcrs, 8)) : null,
            Measured = [.. events.Optional("measured")?.SomeItems().Select(m => ReadMeasured(m, pcrs)) ?? []],
            Volatile = [.. events.Optional("volatile") is { } classes ? classes.Members().Select(m => ReadVolatile(m.Key, m.Value, pcrs)) : []],
        };
        if (rules is { SecureBoot: null, Firmware: [], Databases: [], Variables: [], Boot: [], LoaderCommands: null, Measured: [] })
            throw new JsonException($"{events.Path}: no rule names an event that has to be as it is. A policy that lists nothing proves nothing, and is refused.");
        return rules with { Warnings = BootPolicyLint.Check(rules) };
    }

    private static PcrSet ReadPcrs(BootJson json)
    {
        var set = default(PcrSet);
        foreach (var item in json.SomeItems())
        {
            var pcr = item.Number(0, 23);
            if (pcr is 10 or > 15)
                throw new JsonException($"{item.Path}: PCR {pcr} is not of the boot log: 0 to 9 and 11 to 15 are.");
            if (set.Contains(pcr))
                throw new JsonException($"{item.Path}: PCR {pcr} is there twice.");
            set = set.Union(PcrSet.Of(pcr));
        }

        return set;
    }

    private static SecureBootRule ReadSecureBoot(BootJson json) => json.Text() switch
    {
        "on" => SecureBootRule.On,
        "off" => SecureBootRule.Off,
        "any" => SecureBootRule.Any,
        _ => throw new JsonException($"{json.Path}: on, off or any is expected."),
    };

    private static FirmwareRule ReadFirmware(BootJson json)
    {
        json.ExpectObject("name", "versions", "digests");
        var versions = json.Optional("versions")?.SomeItems().Select(static v => v.Text()).ToImmutableHashSet(StringComparer.Ordinal);
        var digests = json.Member("digests").Items().Select(ReadDigest).ToImmutableArray();
        if (versions is null && digests.IsEmpty)
            throw new JsonException($"{json.Path}: neither versions nor digests are listed, so nothing is asked of the firmware.");
        return new FirmwareRule(json.Member("name").Words(), versions, digests);
    }

    private static (TpmAlgorithm Bank, string Hex, string Remark) ReadDigest(BootJson json)
    {
        var (entry, remark) = BootDigestSet.SplitRemark(json);
        return BootDigestSet.TryParse(entry, out var bank, out var hex) ? (bank, hex, remark) : throw BootDigestSet.Expected(json);
    }

    private static DatabaseRule ReadDatabase(string name, BootJson json, PcrSet pcrs)
    {
        var known = DatabaseRule.Known.FirstOrDefault(k => k.Name == name);
        if (known.Name is null)
            throw new JsonException($"{json.Path}: no database that is known; {string.Join(", ", DatabaseRule.Known.Select(static k => k.Name))} are.");
        Within(json, pcrs, known.Pcr).ExpectObject("equal", "at-least", "at-most", "digests");
        var (equal, least, most) = (ReadEntries(json.Optional("equal")?.Items()), ReadEntries(json.Optional("at-least")?.SomeItems()), ReadEntries(json.Optional("at-most")?.Items()));
        var digests = json.Optional("digests") is { } list ? BootDigestSet.Read(list) : null;
        var forms = (equal is null ? 0 : 1) + (least is null && most is null ? 0 : 1) + (digests is null ? 0 : 1);
        if (forms != 1)
            throw new JsonException($"{json.Path}: one of equal, digests, and at-least or at-most or both of these, is expected.");
        return new DatabaseRule(name, equal ?? least, equal ?? most, digests);
    }

    // "equal": [] and "at-most": [] say that a database is empty, which is something to ask for; "at-least": [] asks for nothing.
    private static ImmutableSortedDictionary<string, string>? ReadEntries(IEnumerable<BootJson>? items)
    {
        if (items is null)
            return null;
        var entries = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var item in items)
        {
            var (entry, remark) = BootDigestSet.SplitRemark(item);
            if (!EfiSignatureKey.IsKey(entry))
                throw new JsonException($"{item.Path}: an entry is expected as sha256: and the hash it lists, x509: and the SHA-256 of the certificate, or GUID: and the SHA-256 of the data, in lower-case hex; a remark may follow a space.");
            entries[entry] = remark;
        }

        return entries.ToImmutable();
    }

    private static VariableRule ReadVariable(BootJson json, PcrSet pcrs)
    {
        const int guid = 36;
        json.ExpectObject("variable", "pcr", "values", "required");
        var name = json.Member("variable");
        var text = name.Words(); // as the files under efivars are named: NAME-GUID
        if (text.Length < guid + 2 || text[^(guid + 1)] != '-' || !Guid.TryParseExact(text[^guid..], "D", out var vendor))
            throw new JsonException($"{name.Path}: a variable is expected as NAME-GUID: SbatLevel-605dab50-e046-4300-abb6-3dd810dd8b23.");
        var pcr = json.Optional("pcr")?.Number(0, 23) ?? 7;
        var values = BootDigestSet.Read(Within(json, pcrs, pcr).Member("values"));
        if (!values.Has(TpmAlgorithm.Sha256))
            throw new JsonException($"{json.Path}.values: the SHA-256 of a value is expected.");
        return new VariableRule(pcr, text[..^(guid + 1)], vendor, values, json.Optional("required")?.Flag() ?? true);
    }

    private static MeasuredRule ReadMeasured(BootJson json, PcrSet pcrs)
    {
        json.ExpectObject("pcr", "name", "digests", "required");
        var pcr = json.Member("pcr").Number(0, 23);
        return new MeasuredRule(
            pcr, Within(json, pcrs, pcr).Member("name").Words(), BootDigestSet.Read(json.Member("digests")), json.Optional("required")?.Flag() ?? true);
    }

    private static VolatileRule ReadVolatile(string name, BootJson json, PcrSet pcrs)
    {
        if (VolatileClass.Find(name) is not { } known)
            throw new JsonException($"{json.Path}: no class that is known; {string.Join(", ", VolatileClass.All.Select(static c => c.Name))} are.");
        _ = Within(json, pcrs, known.Pcr);
        if (json.Element.ValueKind == JsonValueKind.String)
            return new VolatileRule(known, json.Words(), known.Most);
        json.ExpectObject("reason", "most");
        return new VolatileRule(known, json.Member("reason").Words(), json.Optional("most")?.Number(1, VolatileClass.Limit) ?? known.Most);
    }

    // A rule about a PCR that is not judged can never match, and where it asks for an event, no boot could pass.
    private static BootJson Within(BootJson json, PcrSet pcrs, params ReadOnlySpan<int> any)
    {
        foreach (var pcr in any)
        {
            if (pcrs.Contains(pcr))
                return json;
        }

        throw new JsonException($"{json.Path}: it is about PCR {string.Join(" or ", any.ToArray())}, which $.pcrs does not list, so it could never match.");
    }
}

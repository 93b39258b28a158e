using System.Text.Json;

namespace Keylime.Attestation;

/// <content>The JSON of what was found.</content>
internal sealed partial class EventRulesMaker
{
    private void WriteFirmware(Utf8JsonWriter json)
    {
        if (!options.Pcrs.Contains(0))
            return;
        json.WriteStartArray("firmware");
        var seen = new HashSet<string>();
        foreach (var boot in _boots)
        {
            var versions = boot.Firmware.Where(IsVersion).Select(static e => ((BootEventData.CrtmVersion)e.UntrustedData).Version).Distinct().ToArray();
            var digests = boot.Firmware.Where(static e => !IsVersion(e)).Select(e => Remarked(BootDigestSet.Text(_bank, e.Digest), Name(e))).ToArray();
            if (!seen.Add(string.Join('\n', [.. versions, "|", .. digests])))
                continue;
            json.WriteStartObject();
            json.WriteString("name", versions is [{ Length: > 0 } version, ..] ? BootWords.Printable(version) : $"firmware {seen.Count}");
            if (versions.Length > 0)
                json.WriteStrings("versions", versions);
            json.WriteStrings("digests", digests);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        if (seen.Count > 1)
            _notes.Add($"The boots have {seen.Count} versions of the firmware; each is an alternative.");
    }

    private static bool IsVersion(BootFact e) => e is { Measured: MeasuredPart.Whole, UntrustedData: BootEventData.CrtmVersion };

    private static void WriteDatabases(Utf8JsonWriter json, List<Database> databases)
    {
        if (databases.Count == 0)
            return;
        json.WriteStartObject("databases");
        foreach (var database in databases)
        {
            json.WriteStartObject(database.Name);
            json.WriteStrings(database.Mode, database.Entries);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }

    private static void WriteVariables(Utf8JsonWriter json, List<Variable> variables)
    {
        if (variables.Count == 0)
            return;
        json.WriteStartArray("variables");
        foreach (var variable in variables)
        {
            json.WriteStartObject();
            json.WriteString("variable", $"{variable.Name}-{variable.Vendor}");
            json.WriteStrings("values", variable.Values);
            if (!variable.Required)
                json.WriteBoolean("required", false);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteChains(Utf8JsonWriter json, List<Chain> chains)
    {
        if (chains.Count == 0)
            return;
        json.WriteStartArray("boot");
        foreach (var chain in chains)
        {
            json.WriteStartObject();
            json.WriteString("name", chain.Name);
            WriteImages(json, chain.Images);
            if (chain.Initrd.Count > 0)
                json.WriteStrings("initrd", chain.Initrd);
            if (chain.KernelFile.Count > 0)
                json.WriteStrings("kernel-file", chain.KernelFile);
            if (chain.Texts.Count + chain.LineDigests.Count > 0)
            {
                json.WriteStartObject("command-line");
                if (chain.Texts.Count > 0)
                    json.WriteStrings("texts", chain.Texts);
                if (chain.LineDigests.Count > 0)
                    json.WriteStrings("digests", chain.LineDigests);
                json.WriteEndObject();
            }

            if (chain.Sections.Count > 0)
            {
                json.WriteStartObject("sections");
                foreach (var section in chain.Sections.GroupBy(static s => s.Name))
                    json.WriteStrings(section.Key, section.Select(static s => s.Digest).Distinct());
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteImages(Utf8JsonWriter json, IReadOnlyList<Step> images)
    {
        if (images.Count == 0)
            return;
        json.WriteStartArray("images");
        foreach (var step in images)
        {
            json.WriteStartObject();
            json.WriteString("role", step.Role);
            json.WriteStrings("digests", [step.Digest]);
            if (step.Times > 1)
                json.WriteNumber("most", step.Times);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteMeasured(Utf8JsonWriter json, List<(int Pcr, string Name, string Digest)> measured)
    {
        if (measured.Count == 0)
            return;
        json.WriteStartArray("measured");
        foreach (var (pcr, name, digest) in measured)
        {
            json.WriteStartObject();
            json.WriteNumber("pcr", pcr);
            json.WriteString("name", name.Length > 200 ? name[..200] : name);
            json.WriteStrings("digests", [digest]);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private void WriteVolatile(Utf8JsonWriter json)
    {
        if (_volatile.Count == 0)
            return;
        json.WriteStartObject("volatile");
        foreach (var (name, most) in _volatile)
        {
            var known = VolatileClass.Find(name)!;
            json.WriteStartObject(name);
            json.WriteString("reason", options.Volatile.Contains(name) ? $"Asked for when the policy was made: {known.About}." : $"It differed between good boots: {known.About}.");
            if (most != known.Most)
                json.WriteNumber("most", most);
            json.WriteEndObject();
        }

        json.WriteEndObject();
    }
}

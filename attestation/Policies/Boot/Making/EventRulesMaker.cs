using System.Security.Cryptography;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Makes event rules out of good boots.</summary>
/// <remarks>
/// Firmware and what is booted become alternatives, because each of the boots is good. Keys are taken together. Any other event is named by its digest
/// where all boots have it; where they do not, it must be of a volatile class, or there is no policy.
/// </remarks>
internal sealed partial class EventRulesMaker(BootPolicyMakerOptions options)
{
    private readonly TpmAlgorithm _bank = options.Bank;
    private readonly List<string> _reasons = [];
    private readonly List<string> _notes = [];
    private readonly SortedDictionary<string, int> _volatile = new(StringComparer.Ordinal); // and how many of a class there may be
    private IReadOnlyList<BootStory> _boots = [];

    public BootPolicyDraft Make(IReadOnlyList<IReadOnlyList<BootFact>> boots)
    {
        _boots = [.. boots.Select((events, i) => BootStory.Read(events, i + 1, _bank, options.Pcrs))];
        foreach (var boot in _boots)
            _reasons.AddRange(boot.Objections.Select(o => $"Boot {boot.Number}: {o.Detail}"));
        if (_boots.Count == 1)
            _notes.Add("One boot does not show what differs from boot to boot: of two or more, that is classed as volatile.");
        foreach (var name in _boots.SelectMany(static b => b.Classes).Concat(options.Volatile))
            Use(name, 0);

        var secureBoot = FindSecureBoot();
        var databases = FindDatabases();
        var variables = FindVariables();
        var chains = FindChains();
        var commands = FindCommands();
        var measured = FindMeasured();
        if (_reasons.Count > 0)
            return new BootPolicyDraft.Refused([.. _reasons]);

        return PolicyText.Finish(
            json =>
            {
                json.WriteNumber("version", 1);
                if (options.About.Length > 0)
                    json.WriteString("about", options.About);
                json.WriteStartArray("pcrs");
                foreach (var pcr in options.Pcrs)
                    json.WriteNumberValue(pcr);
                json.WriteEndArray();
                json.WriteStartObject("events");
                if (secureBoot is not null)
                    json.WriteString("secure-boot", secureBoot);
                WriteFirmware(json);
                WriteDatabases(json, databases);
                WriteVariables(json, variables);
                WriteChains(json, chains);
                if (commands.Count > 0)
                {
                    json.WriteStartObject("loader-commands");
                    json.WriteStrings("texts", commands);
                    json.WriteEndObject();
                }

                WriteMeasured(json, measured);
                WriteVolatile(json);
                json.WriteEndObject();
            },
            _notes);
    }

    private string? FindSecureBoot()
    {
        if (!options.Pcrs.Contains(7))
            return null;
        var states = _boots.Select(static b => b.Configuration.Any(static v => v is { Name: "SecureBoot", Value.Span: [1] })).Distinct().ToArray();
        if (states.Length > 1)
            _reasons.Add("Some of the boots have Secure Boot on and some off: that takes two policies.");
        return states[0] ? "on" : "off";
    }

    private List<string> FindCommands()
    {
        string[][] sets = [.. _boots.Select(static b => b.Commands.Distinct().Order(StringComparer.Ordinal).ToArray())];
        if (_volatile.ContainsKey("loader-commands"))
            return [];
        if (sets.All(s => s.SequenceEqual(sets[0])))
            return [.. sets[0]];
        Use("loader-commands", 0, "the boot loader's commands differ between the boots");
        return [];
    }

    // By digest, where every boot has it; by a class, where not.
    private List<(int Pcr, string Name, string Digest)> FindMeasured()
    {
        var measured = new List<(int Pcr, string Name, string Digest)>();
        var everywhere = _boots.Select(b => b.Others.Select(Key).ToHashSet()).Aggregate((a, b) => [.. a.Intersect(b)]);
        var differing = _boots.SelectMany(b => b.Others.Where(e => !everywhere.Contains(Key(e))).Select(e => (Boot: b.Number, Event: e))).ToArray();
        foreach (var (boot, e) in differing)
        {
            // The narrowest class first: the list has network-boot-entries behind boot-entries.
            var known = VolatileClass.All.Reverse().FirstOrDefault(c => c.Pcr == e.Pcr && c.Has(e));
            if (known is not null)
                Use(known.Name, 0, $"boot {boot} has {BootWords.Story(e)} (PCR {e.Pcr}, event {e.Index}) and not every other boot has it");
            else
                _reasons.Add($"Boot {boot}: PCR {e.Pcr}, event {e.Index}: {e.UntrustedTypeName}, {BootWords.Story(e)}, {BootWords.ItsDigest(_bank, e)}: not every boot has it, and it is of no volatile class.");
        }

        foreach (var boot in _boots)
        {
            foreach (var e in boot.Others.Where(e => everywhere.Contains(Key(e)) && !IsLeft(e) && !measured.Any(m => Key(m.Pcr, m.Digest) == Key(e))))
                measured.Add((e.Pcr, Name(e), BootDigestSet.Text(_bank, e.Digest)));
        }

        foreach (var name in _volatile.Keys.ToArray())
        {
            var known = VolatileClass.Find(name)!;
            var most = _boots.Max(b => b.Others.Count(e => known.Pcr == e.Pcr && known.Has(e) && !measured.Any(m => Key(m.Pcr, m.Digest) == Key(e))));
            _volatile[name] = known.IsProven ? Math.Max(known.Most, most) : Math.Max(1, most); // as few unknown digests as will do
        }

        return measured;
    }

    // A class that proves its events may have all of them; of another, those that do not differ are better named.
    private bool IsLeft(in BootFact e)
    {
        var fact = e;
        return _volatile.Keys.Any(name => VolatileClass.Find(name) is { } c && c.Pcr == fact.Pcr && (c.IsProven || options.Volatile.Contains(name)) && c.Has(fact));
    }

    private void Use(string name, int most, string? why = null)
    {
        if (_volatile.TryAdd(name, most) && why is not null)
            _notes.Add($"Volatile class {name}: {why}.");
    }

    private static string Name(in BootFact e)
    {
        var story = BootWords.Story(e);
        return story == "no text" ? e.UntrustedTypeName : $"{e.UntrustedTypeName}, {story}";
    }

    private string Key(BootFact e) => Key(e.Pcr, BootDigestSet.Text(_bank, e.Digest));

    private static string Key(int pcr, string digest) => $"{pcr} {digest}";

    private static string ValueDigest(BootEventData.EfiVariable variable) => $"sha256:{Convert.ToHexStringLower(SHA256.HashData(variable.Value.Span))}";
}

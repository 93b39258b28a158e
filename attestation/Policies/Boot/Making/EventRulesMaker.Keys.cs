using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Attestation;

/// <content>Secure Boot's databases and the other variables of PCR 7.</content>
internal sealed partial class EventRulesMaker
{
    private sealed record Database(string Name, string Mode, IReadOnlyList<string> Entries);

    private sealed record Variable(string Name, Guid Vendor, IReadOnlyList<string> Values, bool Required);

    private List<Database> FindDatabases()
    {
        var found = new List<Database>();
        foreach (var (name, vendor, pcr) in DatabaseRule.Known.Where(k => options.Pcrs.Contains(k.Pcr)))
        {
            if (pcr == 14)
            {
                string[] digests = [.. _boots.SelectMany(b => b.Mok.TryGetValue(name, out var e) ? [BootDigestSet.Text(_bank, e.Digest)] : (string[])[]).Distinct()];
                if (digests.Length > 0 && _boots.All(b => b.Mok.ContainsKey(name)))
                    found.Add(new Database(name, "digests", digests));
                else if (digests.Length > 0)
                    _reasons.Add($"Some of the boots measure {name} and some do not: that takes two policies.");
                continue;
            }

            var sets = _boots.Select(b => ReadDatabase(b, name, vendor)).ToArray();
            if (sets.All(static s => s is null))
                continue;
            if (sets.Any(static s => s is null))
                _reasons.Add($"Some of the boots measure {name} and some do not: that takes two policies.");
            else
                found.Add(Join(name, [.. sets.OfType<Dictionary<string, string>>()]));
        }

        return found;
    }

    // PK has one owner and stays as it is; dbx grows; of KEK and db what all boots have together is the most there may be.
    private Database Join(string name, Dictionary<string, string>[] sets)
    {
        var isSame = sets.All(s => s.Keys.ToHashSet().SetEquals(sets[0].Keys));
        var grows = name is "dbx" or "dbt";
        var keys = sets.Aggregate((IEnumerable<string>)sets[0].Keys, (a, b) => grows ? a.Intersect(b.Keys) : a.Union(b.Keys)).Order(StringComparer.Ordinal).ToArray();
        var mode = name == "PK" && isSame ? "equal" : grows ? "at-least" : "at-most";
        if (!isSame)
            _notes.Add($"The {name} differs between the boots: the policy says {mode}, with {(grows ? "what all boots have" : "what any boot has")}.");
        if (keys.Length == 0)
            mode = "equal"; // "at least nothing" would ask for nothing
        if (keys.Length == 0 && grows)
            _notes.Add($"The {name} is empty, so the policy wants it empty: put in what it should have, with at-least, before it is updated.");
        return new Database(name, mode, [.. keys.Select(key => Remarked(key, sets.Select(s => s.GetValueOrDefault(key, "")).First(static r => r is not null)))]);
    }

    private Dictionary<string, string>? ReadDatabase(BootStory boot, string name, Guid vendor)
    {
        if (boot.Configuration.FirstOrDefault(v => v.Name == name && v.Vendor == vendor) is not { } variable)
            return null;
        var entries = new Dictionary<string, string>(StringComparer.Ordinal);
        if (BootDatabases.Read(variable, out var reason) is not { } database)
        {
            _reasons.Add($"Boot {boot.Number}: the signature lists of {name} cannot be read: {reason}.");
            return entries;
        }

        foreach (var list in database.Lists)
        {
            foreach (var entry in list.Signatures)
                entries[EfiSignatureKey.Of(list.Type, entry.Data.Span)] = list.Type == EfiGuids.X509 ? NameOf(entry.Data.Span) : "";
        }

        return entries;
    }

    // Whatever has no rule of its own: SbatLevel, Shim, MokListTrusted, AuditMode …
    private List<Variable> FindVariables()
    {
        var found = new List<Variable>();
        var groups = _boots.SelectMany(b => b.Configuration.Where(v => !HasRule(v)).Concat(b.Authorities.Where(v => !IsListed(b, v))).Select(v => (Boot: b.Number, Variable: v)))
            .GroupBy(static p => (p.Variable.Vendor, p.Variable.Name));
        foreach (var group in groups)
        {
            found.Add(new Variable(
                group.Key.Name, group.Key.Vendor, [.. group.Select(static p => Remarked(ValueDigest(p.Variable), TextOf(p.Variable))).Distinct()], group.Select(static p => p.Boot).Distinct().Count() == _boots.Count));
        }

        return found;
    }

    private static bool HasRule(BootEventData.EfiVariable variable) =>
        variable.Name == "SecureBoot" && variable.Vendor == EfiGuids.GlobalVariable || DatabaseRule.Known.Any(k => k.Name == variable.Name && k.Vendor == variable.Vendor);

    // An entry of db that let an image run needs no rule: db has one.
    private static bool IsListed(BootStory boot, BootEventData.EfiVariable authority) =>
        authority.Name == "db" && authority.Vendor == EfiGuids.ImageSecurityDatabase
        && BootDatabases.ReadAuthority(authority) is { } entry
        && boot.Configuration.FirstOrDefault(static v => v.Name == "db" && v.Vendor == EfiGuids.ImageSecurityDatabase) is { } db
        && BootDatabases.Read(db, out _)?.Signatures.Any(s => s.Data.Span.SequenceEqual(entry.Data.Span)) == true;

    private static string TextOf(BootEventData.EfiVariable variable) => variable.Content switch
    {
        EfiVariableContent.Text text => text.Value,
        EfiVariableContent.Flag flag => flag.Enabled ? "on" : "off",
        _ when BootDatabases.ReadAuthority(variable) is { } entry => NameOf(entry.Data.Span),
        _ => "",
    };

    private static string NameOf(ReadOnlySpan<byte> der)
    {
        try
        {
            using var certificate = X509CertificateLoader.LoadCertificate(der);
            return certificate.GetNameInfo(X509NameType.SimpleName, forIssuer: false);
        }
        catch (CryptographicException)
        {
            return ""; // a name is only for people
        }
    }

    private static string Remarked(string value, string remark)
    {
        const int most = 100;
        var words = BootWords.Printable(remark.ReplaceLineEndings(" ").Trim());
        return words.Length == 0 ? value : $"{value} {(words.Length > most ? words[..most] : words)}".TrimEnd();
    }
}

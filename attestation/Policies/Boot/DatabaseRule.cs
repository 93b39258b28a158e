using System.Collections.Immutable;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>What a key database may hold. Entries are as <see cref="EfiSignatureKey"/> names them.</summary>
/// <param name="AtLeast">Entries that must all be there.</param>
/// <param name="AtMost">Entries besides which there must be none; the same as <paramref name="AtLeast"/> where the policy says "equal".</param>
/// <param name="Digests">Digests of the event: all that there is where the log does not hold the contents, as of MokList.</param>
internal sealed record DatabaseRule(string Name, ImmutableSortedDictionary<string, string>? AtLeast, ImmutableSortedDictionary<string, string>? AtMost, BootDigestSet? Digests)
{
    /// <summary>Databases, and where they are: the variable's vendor, and the PCR.</summary>
    public static readonly ImmutableArray<(string Name, Guid Vendor, int Pcr)> Known =
    [
        ("PK", EfiGuids.GlobalVariable, 7), ("KEK", EfiGuids.GlobalVariable, 7), ("db", EfiGuids.ImageSecurityDatabase, 7),
        ("dbx", EfiGuids.ImageSecurityDatabase, 7), ("dbt", EfiGuids.ImageSecurityDatabase, 7), ("dbr", EfiGuids.ImageSecurityDatabase, 7),
        ("vendor_db", EfiGuids.ImageSecurityDatabase, 7), ("MokList", EfiGuids.ShimLock, 14), ("MokListX", EfiGuids.ShimLock, 14),
    ];

    /// <summary>shim's lists are measured into PCR 14 by their digest alone.</summary>
    public bool IsMok => Name.StartsWith("Mok", StringComparison.Ordinal);

    public int Pcr => Known.First(k => k.Name == Name).Pcr;

    /// <summary>The objection to this database, measured by this event.</summary>
    public BootMiss? Judge(in BootFact e, EfiVariableContent.SignatureDatabase database, TpmAlgorithm bank)
    {
        if (Digests is { } digests)
            return JudgeDigest(e, digests, bank);

        var seen = EfiSignatureKey.Of(database).ToHashSet(StringComparer.Ordinal);
        var extra = AtMost is null ? [] : seen.Where(key => !AtMost.ContainsKey(key)).Order(StringComparer.Ordinal).ToArray();
        if (extra.Length > 0)
            return BootMiss.At(BootDatabaseNotAllowed, e, $"the {Name} has {Count(extra.Length)} that the policy does not list: {Some(extra)}", $"none but {Count(AtMost!.Count)} of the policy", Some(extra));

        var missing = AtLeast is null ? [] : AtLeast.Keys.Where(key => !seen.Contains(key)).ToArray();
        return missing.Length > 0
            ? BootMiss.At(BootDatabaseNotAllowed, e, $"the {Name} lacks {Count(missing.Length)} that the policy wants: {Some(missing)}", $"{Count(AtLeast!.Count)} of the policy", $"{Count(AtLeast.Count - missing.Length)} of them")
            : null;
    }

    public BootMiss? JudgeDigest(in BootFact e, BootDigestSet digests, TpmAlgorithm bank) =>
        digests.Allows(bank, e.Digest)
            ? null
            : BootMiss.At(BootDatabaseNotAllowed, e, $"the {Name} is not in the policy; {BootWords.ItsDigest(bank, e)}", digests.Describe(bank), BootDigestSet.Text(bank, e.Digest));

    private static string Count(int entries) => entries == 1 ? "1 entry" : $"{entries} entries";

    private static string Some(string[] keys) => keys.Length <= 3 ? string.Join(", ", keys) : $"{string.Join(", ", keys.Take(3))} and {keys.Length - 3} others";
}

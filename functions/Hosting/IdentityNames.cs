using Keylime.Attestation;

namespace Keylime.Functions.Hosting;

/// <summary>Levels of identity, by the names that options, verdicts and rules have for them.</summary>
internal static class IdentityNames
{
    private static readonly (IdentityLevel Level, string Name)[] All =
    [
        (IdentityLevel.None, "none"), (IdentityLevel.EndorsementKey, "ek-key"), (IdentityLevel.EndorsementList, "ek-list"),
        (IdentityLevel.EndorsementCertificate, "ek-certificate"), (IdentityLevel.InitialAttestationKey, "iak-certificate"),
    ];

    public static string Of(IdentityLevel level) => All.First(pair => pair.Level == level).Name;

    public static bool TryParse(string name, out IdentityLevel level)
    {
        level = All.FirstOrDefault(pair => pair.Name == name).Level;
        return level != IdentityLevel.None;
    }

    /// <exception cref="FormatException">There is no such name.</exception>
    public static IdentityLevel Parse(string name) => TryParse(name, out var level) ? level : throw new FormatException($"'{name}' names no identity.");
}

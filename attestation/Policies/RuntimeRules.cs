using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>One text of a runtime policy, ready to judge with. Immutable.</summary>
internal sealed class RuntimeRules
{
    public required DigestTable Digests { get; init; }

    public required DigestTable Keyrings { get; init; }

    public required DigestTable Buffers { get; init; }

    public required PatternList Excludes { get; init; }

    /// <summary>Names in UTF-8.</summary>
    public required IReadOnlyList<byte[]> IgnoredKeyrings { get; init; }

    public required bool IgnoresEveryKeyring { get; init; }

    public required TpmAlgorithm LogHash { get; init; }

    public required Keyring Keys { get; init; }

    public required DeviceMapperPolicy? Devices { get; init; }

    /// <summary><see langword="null"/> if the policy does not mention them.</summary>
    public required (long Budget, PatternList Paths)? Violations { get; init; }

    /// <summary>Those that the policy mentions.</summary>
    public required IReadOnlyDictionary<string, ClassRuleText> ClassRules { get; init; }

    public bool IgnoresKeyring(ReadOnlySpan<byte> name)
    {
        if (IgnoresEveryKeyring)
            return true;
        foreach (var ignored in IgnoredKeyrings)
        {
            if (name.SequenceEqual(ignored))
                return true;
        }

        return false;
    }
}

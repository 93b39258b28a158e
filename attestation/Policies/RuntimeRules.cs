using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>One text of a runtime policy, ready to judge with. Immutable.</summary>
internal sealed class RuntimeRules
{
    public required PolicyTables Tables { get; init; }

    /// <summary>All but the lists, in the policy's own words: see <see cref="PolicySettingsText"/>.</summary>
    public required ReadOnlyMemory<byte> Settings { get; init; }

    public DigestTable Digests => Tables.Digests;

    public DigestTable Keyrings => Tables.Keyrings;

    public DigestTable Buffers => Tables.Buffers;

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

    /// <summary>Bytes that it holds, in memory or in a file that is mapped; of patterns what they may come to.</summary>
    public long Size =>
        Tables.Size + Settings.Length + Excludes.MaxSize + (Violations?.Paths.MaxSize ?? 0);

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

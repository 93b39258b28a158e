using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What differs between two boot policies, in words.</summary>
public static class BootPolicyDiff
{
    private const int MaxShown = 3;

    /// <returns>A line for each set of values that differs: <c>shim: SHA-256 0a1b…→2c3d…</c>, <c>dbx: +12 entries</c>. None if the two allow the same values.</returns>
    public static ImmutableArray<string> Describe(BootPolicy before, BootPolicy after)
    {
        ArgumentNullException.ThrowIfNull(before);
        ArgumentNullException.ThrowIfNull(after);
        var lines = ImmutableArray.CreateBuilder<string>();
        if (before.Format != after.Format)
            lines.Add($"The first is {Name(before.Format)}, the second {Name(after.Format)}.");

        var (old, now) = (Index(before), Index(after));
        foreach (var label in old.Keys.Concat(now.Keys).Distinct())
        {
            var (was, has) = (old.GetValueOrDefault(label), now.GetValueOrDefault(label));
            var unit = (has ?? was)!.Unit;
            string[] removed = [.. (was?.Values ?? []).Except(has?.Values ?? []).Order(StringComparer.Ordinal)];
            string[] added = [.. (has?.Values ?? []).Except(was?.Values ?? []).Order(StringComparer.Ordinal)];
            if (added.Length > 0 || removed.Length > 0)
                lines.Add(Describe(label, unit, removed, added, isReplaced: was is { Values.Count: 1 } && has is { Values.Count: 1 }));
        }

        return lines.DrainToImmutable();
    }

    private static string Describe(string label, string unit, string[] removed, string[] added, bool isReplaced)
    {
        if (isReplaced)
            return $"{label}: {Short(removed[0])}→{(Kind(removed[0]) == Kind(added[0]) ? ShortValue(added[0]) : Short(added[0]))}";

        var parts = new List<string>();
        if (added.Length > 0)
            parts.Add($"+{Count(added.Length, unit)}{Some(added)}");
        if (removed.Length > 0)
            parts.Add($"−{Count(removed.Length, unit)}{Some(removed)}");
        return $"{label}: {string.Join(", ", parts)}";
    }

    private static string Some(string[] values) => values.Length > MaxShown ? "" : $" ({string.Join(", ", values.Select(Short))})";

    private static string Count(int count, string unit) => $"{count} {(count == 1 ? unit : unit.EndsWith('y') ? $"{unit[..^1]}ies" : unit is "class" ? "classes" : $"{unit}s")}";

    // sha256:0a1b…  becomes  SHA-256 0a1b…, with its remark; any other text is shown whole.
    private static string Short(string value) => Kind(value) is { } kind ? $"{kind} {ShortValue(value)}" : BootWords.Printable(value);

    private static string ShortValue(string value)
    {
        const int shown = 12;
        if (Kind(value) is null)
            return BootWords.Printable(value);
        var (entry, remark) = Split(value);
        var hex = entry[(entry.LastIndexOf(':') + 1)..];
        return $"{(hex.Length > shown ? $"{hex[..shown]}…" : hex)}{(remark.Length > 0 ? $" ({BootWords.Printable(remark)})" : "")}";
    }

    private static string? Kind(string value)
    {
        var (entry, _) = Split(value);
        if (BootDigestSet.TryParse(entry, out var bank, out _))
            return BootWords.Name(bank);
        var colon = entry.LastIndexOf(':');
        return colon > 0 && entry.Length - colon > 40 && entry.Skip(colon + 1).All(char.IsAsciiHexDigitLower) ? entry[..colon] : null;
    }

    private static (string Entry, string Remark) Split(string value)
    {
        var space = value.IndexOf(' ', StringComparison.Ordinal);
        return space < 0 ? (value, "") : (value[..space], value[(space + 1)..]);
    }

    private static Dictionary<string, BootPolicyLine> Index(BootPolicy policy) => policy.Lines.Where(static l => l.Values.Count > 0).ToDictionary(static l => l.Label);

    private static string Name(BootPolicyFormat format) => format == BootPolicyFormat.EventRules ? "event rules" : "a reference state of Keylime";
}

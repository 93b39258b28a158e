namespace Keylime.Attestation;

/// <summary>One way in which a boot is not what one alternative of a policy allows. Of several alternatives only the nearest one's become findings.</summary>
/// <param name="Event"><see langword="null"/> for an event that did not come.</param>
internal sealed record BootMiss(string Code, BootFact? Event, int Pcr, string What, string Expected, string Seen)
{
    public static BootMiss At(string code, in BootFact e, string what, string expected, string seen) => new(code, e, e.Pcr, what, expected, seen);

    public static BootMiss Absent(string code, int pcr, string what, string expected) => new(code, null, pcr, what, expected, "");

    /// <summary>The misses of the alternative that comes nearest: none if one fits.</summary>
    /// <param name="name">What the alternatives are called, to say which one it was, where there are several.</param>
    public static IReadOnlyList<BootMiss> Nearest<T>(IReadOnlyList<T> alternatives, Func<T, string> name, Func<T, IReadOnlyList<BootMiss>> judge)
    {
        IReadOnlyList<BootMiss>? nearest = null;
        var which = "";
        foreach (var alternative in alternatives)
        {
            var misses = judge(alternative);
            if (misses.Count == 0)
                return misses;
            if (nearest is null || misses.Count < nearest.Count)
                (nearest, which) = (misses, name(alternative));
        }

        return alternatives.Count > 1
            ? [.. nearest!.Select(miss => miss with { What = $"{miss.What} (of {alternatives.Count} alternatives, {which} is the nearest)" })]
            : nearest ?? [];
    }
}

using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What differs between two runtime policies.</summary>
/// <param name="Changes">In the order of the members.</param>
public sealed record RuntimePolicyDiff(ImmutableArray<PolicyChange> Changes)
{
    public bool IsEmpty => Changes.IsEmpty;
}

/// <summary>One difference; its text is a sentence.</summary>
/// <param name="Member">As a JSON path: <c>$.digests</c>.</param>
/// <param name="Key">The path, pattern, keyring or name within; <see langword="null"/> for a setting.</param>
/// <param name="Before">What is there no longer; empty for what is new.</param>
/// <param name="After">What is there now; empty for what is gone.</param>
public sealed record PolicyChange(string Member, string? Key, ImmutableArray<string> Before, ImmutableArray<string> After)
{
    private const int MaxShown = 3;

    internal bool WasThere { get; init; }

    internal bool IsThere { get; init; }

    /// <summary>In words.</summary>
    public override string ToString() => (Key, Member) switch
    {
        (null, _) when Before.IsEmpty => $"{Member} is set: {After[0]}.",
        (null, _) when After.IsEmpty => $"{Member} is not set any more; it was {Before[0]}.",
        (null, _) => $"{Member} was {Before[0]}, and is {After[0]}.",
        (_, "$.digests") => $"{Key} {Lists("digest")}",
        (_, "$.keyrings") => $"The keyring {Key} {Lists("key")}",
        (_, "$.ima-buf") => $"The buffer {Key} {Lists("digest")}",
        _ => $"{Member} {(Before.IsEmpty ? "has" : "does not have any more")}: {Key}.",
    };

    private string Lists(string what) => (WasThere, IsThere) switch
    {
        (false, _) => $"is new, with {Shown(what, After)}.",
        (_, false) => $"is gone; it had {Shown(what, Before)}.",
        _ when Before.IsEmpty => $"may also have {Shown(what, After)}.",
        _ when After.IsEmpty => $"may not have {Shown(what, Before)} any more.",
        _ => $"changes from {Shown(what, Before)} to {Shown(what, After)}.",
    };

    private static string Shown(string what, ImmutableArray<string> values) =>
        $"the {what}{(values.Length == 1 ? "" : "s")} {string.Join(", ", values.Take(MaxShown))}{(values.Length > MaxShown ? $" and {values.Length - MaxShown} more" : "")}";
}

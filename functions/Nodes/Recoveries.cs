using System.Globalization;
using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Nodes;

/// <summary>What heals a node that failed: a pass, so many of them in a row, or an operator's word on top of a pass.</summary>
internal static class Recoveries
{
    public const string Expected = "pass, passes:N with N from 2 to 100, or operator is expected.";
    public const string Pass = "pass";
    private const string Operator = "operator";
    private const string Passes = "passes:";
    private const int MaxPasses = 100;

    public static bool IsValid(string text) => text is Pass or Operator || PassesOf(text) is not null;

    /// <summary>As it is stored: nothing for what everybody has.</summary>
    public static string? Stored(string? text) => text == Pass ? null : text;

    /// <summary>What is left of a failure after a pass; <see langword="null"/> where the pass heals.</summary>
    public static Unhealed? AfterPass(string? recovery, Unhealed? before)
    {
        if (before is null || recovery is null)
            return null;
        var after = before with { Passes = before.Passes + 1 };
        return PassesOf(recovery) is { } wanted && after.Passes >= wanted ? null : after;
    }

    public static string Describe(AgentId node, string? recovery, Unhealed failure) => PassesOf(recovery ?? Pass) is { } wanted
        ? $"It failed at {failure.At:u} and has passed {failure.Passes} of {wanted} times since: {failure.Reason}"
        : $"It failed at {failure.At:u}, passes, and waits for an operator (keylime node recover {node}): {failure.Reason}";

    private static int? PassesOf(string text) =>
        text.StartsWith(Passes, StringComparison.Ordinal) && text[Passes.Length..] is [>= '1' and <= '9', ..] digits
            && int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is >= 2 and <= MaxPasses
            ? count
            : null;
}

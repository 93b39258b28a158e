using System.Diagnostics.CodeAnalysis;

namespace Keylime.Protocol.Payloads;

/// <summary>What a payload may be called: it becomes the name of a file on every machine that gets it, and part of a path of the API.</summary>
public static class PayloadName
{
    /// <summary>In characters.</summary>
    public const int MaxLength = 80;

    public const string Expected = "1 to 80 of A-Z a-z 0-9 _ . - are expected, and no dot in front.";

    public static bool IsValid([NotNullWhen(true)] string? name) =>
        name is { Length: > 0 and <= MaxLength } && name[0] != '.' && name.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-');
}

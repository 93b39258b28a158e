namespace Keylime.Functions.Hosting;

/// <summary>One setting of the service: <c>--name VALUE</c> on the command line, <c>KEYLIME_SERVICE_NAME</c> in the environment.</summary>
/// <param name="Name">As on the command line, without the dashes.</param>
/// <param name="Value">What stands for the value in the help.</param>
/// <param name="Expected">What a value must be, for who gave another one.</param>
/// <param name="Words">What it is for, with its default.</param>
/// <param name="Set">The options with that value; <see langword="null"/> for a value that cannot be.</param>
internal sealed record Setting(string Name, string Value, string Expected, string Words, Func<ServiceOptions, string, ServiceOptions?> Set)
{
    public const string Prefix = "KEYLIME_SERVICE_";

    /// <summary>Whether it may be given again, or with commas between its values.</summary>
    public bool Repeats { get; init; }

    /// <summary>The setting that this one says more about: alone it would be without effect, and so a mistake.</summary>
    public string? Needs { get; init; }

    /// <summary>Its name in the environment.</summary>
    public string Variable => Prefix + Name.Replace('-', '_').ToUpperInvariant();

    public static Setting YesNo(string name, string words, Func<ServiceOptions, bool, ServiceOptions> set) =>
        new(name, "yes", "yes or no", $"{words} (default no)", (options, value) => value is "yes" or "no" ? set(options, value == "yes") : null);

    /// <summary>A value, or several with commas between them; each may come once more.</summary>
    public static Setting Several(string name, string value, string expected, string words, Func<string, bool> isGood, Func<ServiceOptions, IReadOnlyList<string>, ServiceOptions> add) =>
        new(name, value, expected, words, (options, text) => text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) is { Length: > 0 } all && all.All(isGood) ? add(options, all) : null)
        { Repeats = true };
}

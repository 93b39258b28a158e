using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>
/// What an attribute may be, as upstream's policies say it: <c>null</c> for anything, a number to equal, a truth to have (<c>y</c>, <c>yes</c>, <c>true</c>, <c>on</c>, <c>1</c> …), or a
/// pattern to match as a whole.
/// </summary>
internal abstract record DeviceMapperReference
{
    private DeviceMapperReference()
    {
    }

    /// <summary>As a person reads it.</summary>
    public abstract override string ToString();

    /// <param name="value"><see langword="null"/> where the attribute is not there.</param>
    public abstract bool Allows(string? value);

    /// <exception cref="JsonException">It is none.</exception>
    public static DeviceMapperReference Read(JsonElement element, string path) => element.ValueKind switch
    {
        JsonValueKind.Null => new Anything(),
        JsonValueKind.True => new Truth(true),
        JsonValueKind.False => new Truth(false),
        JsonValueKind.Number when element.TryGetInt64(out var number) => new Number(number),
        JsonValueKind.String => ReadPattern(element.GetString()!, path),
        _ => throw new JsonException($"{path}: {element.ValueKind} found; null, true or false, a whole number or a pattern is expected."),
    };

    public static Pattern ReadPattern(string text, string path) =>
        PatternList.TryCreate(text, PatternExtent.Whole, path, out var list, out var error) ? new Pattern(text, list) : throw new JsonException(error);

    internal sealed record Anything : DeviceMapperReference
    {
        public override bool Allows(string? value) => true;

        public override string ToString() => "anything";
    }

    internal sealed record Truth(bool Value) : DeviceMapperReference
    {
        public override bool Allows(string? value) => value?.ToLowerInvariant() switch
        {
            "y" or "yes" or "t" or "true" or "on" or "1" => Value,
            "n" or "no" or "f" or "false" or "off" or "0" => !Value,
            _ => false,
        };

        public override string ToString() => Value ? "yes" : "no";
    }

    internal sealed record Number(long Value) : DeviceMapperReference
    {
        public override bool Allows(string? value) =>
            long.TryParse(value, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) && number == Value;

        public override string ToString() => Value.ToString(CultureInfo.InvariantCulture);
    }

    internal sealed record Pattern(string Text, PatternList List) : DeviceMapperReference
    {
        public override bool Allows(string? value) => value is not null && List.Matches(Encoding.UTF8.GetBytes(value));

        public override string ToString() => $"what '{Text}' matches";
    }
}

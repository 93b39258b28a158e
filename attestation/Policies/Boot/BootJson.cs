using System.Text.Json;
using System.Text.RegularExpressions;

namespace Keylime.Attestation;

/// <summary>A value of a boot policy's JSON with its path, so that whatever is wrong can be told with its place.</summary>
/// <remarks>Every method throws <see cref="JsonException"/> for what is not as its name says.</remarks>
internal readonly partial record struct BootJson(JsonElement Element, string Path)
{
    /// <summary>The most items of one list.</summary>
    private const int MaxItems = 65_536;

    public bool Has(string member) => Element.TryGetProperty(member, out _);

    /// <summary>An object, none of whose members is there twice; JSON leaves open which of two would count.</summary>
    /// <param name="members">Those that it may have; all, if none is named.</param>
    public void ExpectObject(params ReadOnlySpan<string> members)
    {
        if (Element.ValueKind != JsonValueKind.Object)
            throw Wrong("an object");

        var seen = new HashSet<string>(StringComparer.Ordinal);
        foreach (var member in Element.EnumerateObject())
        {
            if (!seen.Add(member.Name))
                throw new JsonException($"{Child(member.Name)}: the member is there twice.");
            if (!members.IsEmpty && !members.Contains(member.Name))
                throw new JsonException($"{Child(member.Name)}: an unknown member; known here are {string.Join(", ", members.ToArray())}.");
        }
    }

    /// <summary>The members of an object whose names are the policy's own.</summary>
    public IEnumerable<KeyValuePair<string, BootJson>> Members()
    {
        ExpectObject();
        var self = this;
        return Element.EnumerateObject().Select(m => KeyValuePair.Create(m.Name, new BootJson(m.Value, self.Child(m.Name))));
    }

    public BootJson Member(string name) =>
        Element.TryGetProperty(name, out var value) ? new BootJson(value, Child(name)) : throw new JsonException($"{Child(name)}: the member is missing.");

    /// <returns><see langword="null"/> where there is no such member.</returns>
    public BootJson? Optional(string name) => Has(name) ? Member(name) : null;

    public IEnumerable<BootJson> Items()
    {
        if (Element.ValueKind != JsonValueKind.Array)
            throw Wrong("an array");
        if (Element.GetArrayLength() > MaxItems)
            throw new JsonException($"{Path}: {Element.GetArrayLength()} items, {MaxItems} at most.");

        var path = Path;
        return Element.EnumerateArray().Select((item, i) => new BootJson(item, $"{path}[{i}]"));
    }

    /// <summary>Items, at least one: a list that names nothing is more likely forgotten than meant.</summary>
    public IReadOnlyList<BootJson> SomeItems()
    {
        BootJson[] items = [.. Items()];
        return items.Length > 0 ? items : throw new JsonException($"{Path}: it is empty; at least one item is expected.");
    }

    public string Text() => Element.ValueKind == JsonValueKind.String ? Element.GetString()! : throw Wrong("a string");

    /// <summary>A string for people: not empty, one line, at most 300 characters.</summary>
    public string Words()
    {
        var text = Text();
        return text is { Length: > 0 and <= 300 } && !text.Any(char.IsControl) && !string.IsNullOrWhiteSpace(text)
            ? text
            : throw new JsonException($"{Path}: a text of one line is expected, of 1 to 300 characters.");
    }

    public bool Flag() => Element.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        _ => throw Wrong("true or false"),
    };

    public int Number(int least, int most) =>
        Element.ValueKind == JsonValueKind.Number && Element.TryGetInt32(out var number) && number >= least && number <= most
            ? number
            : throw new JsonException($"{Path}: a whole number from {least} to {most} is expected.");

    public JsonException Wrong(string expected) => new($"{Path}: {Kind(Element.ValueKind)} found, {expected} expected.");

    private string Child(string name) => PlainName.IsMatch(name) ? $"{Path}.{name}" : $"{Path}['{PrintablePath.From(System.Text.Encoding.UTF8.GetBytes(name))}']";

    private static string Kind(JsonValueKind kind) => kind switch
    {
        JsonValueKind.True or JsonValueKind.False => "true or false",
        _ => kind.ToString().ToLowerInvariant(),
    };

    [GeneratedRegex(@"\A[A-Za-z_][A-Za-z0-9_-]*\z")]
    private static partial Regex PlainName { get; }
}

using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Protocol;

/// <summary>
/// An agent's name: 1 to 80 of <c>A-Z a-z 0-9 _ . -</c>, which is what Keylime's verifier accepts.
/// It is also a table key and part of a path, so nothing else gets in, and <c>.</c> and <c>..</c> do not.
/// </summary>
[JsonConverter(typeof(AgentIdJsonConverter))]
public readonly record struct AgentId : IParsable<AgentId>
{
    /// <summary>In characters: the width of upstream's column.</summary>
    public const int MaxLength = 80;

    private readonly string? _value;

    private AgentId(string value) => _value = value;

    public override string ToString() => _value ?? throw new InvalidOperationException("default(AgentId) names no agent.");

    public static AgentId Parse(string s, IFormatProvider? provider = null) =>
        TryParse(s, provider, out var id) ? id : throw new FormatException("Not an agent id: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");

    public static bool TryParse([NotNullWhen(true)] string? s, IFormatProvider? provider, out AgentId result)
    {
        var valid = s is { Length: > 0 and <= MaxLength } and not ("." or "..")
            && s.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '.' or '-');
        result = valid ? new AgentId(s!) : default;
        return valid;
    }
}

/// <summary>An id as a JSON string. Public, because generated serializers of other assemblies use it.</summary>
public sealed class AgentIdJsonConverter : JsonConverter<AgentId>
{
    public override AgentId Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && AgentId.TryParse(reader.GetString(), null, out var id)
            ? id
            : throw new JsonException("Not an agent id: 1 to 80 of A-Z a-z 0-9 _ . - are expected.");

    public override void Write(Utf8JsonWriter writer, AgentId value, JsonSerializerOptions options) =>
        writer.WriteStringValue(value.ToString());
}

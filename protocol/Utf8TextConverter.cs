using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Protocol;

/// <summary>
/// A JSON string as its UTF-8 bytes, unescaped. A measurement list has megabytes: this way it is never UTF-16 text.
/// </summary>
public sealed class Utf8TextConverter : JsonConverter<ReadOnlyMemory<byte>?>
{
    public override ReadOnlyMemory<byte>? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.Null)
            return null;
        if (reader.TokenType != JsonTokenType.String)
            throw new JsonException("A string is expected.");

        var length = reader.HasValueSequence ? checked((int)reader.ValueSequence.Length) : reader.ValueSpan.Length;
        var bytes = new byte[length]; // unescaping never makes it longer
        return bytes.AsMemory(0, reader.CopyString(bytes));
    }

    public override void Write(Utf8JsonWriter writer, ReadOnlyMemory<byte>? value, JsonSerializerOptions options)
    {
        if (value is { } text)
            writer.WriteStringValue(text.Span);
        else
            writer.WriteNullValue();
    }
}

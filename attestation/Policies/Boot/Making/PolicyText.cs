using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>Writes a policy's text and reads it back, so that nothing is made that could not be put.</summary>
internal static class PolicyText
{
    private static readonly JsonWriterOptions Options = new()
    {
        Indented = true,
        NewLine = "\n",
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, // it is a file, not a page: 'a+b' stays readable
    };

    public static BootPolicyDraft Finish(Action<Utf8JsonWriter> write, IEnumerable<string> notes)
    {
        var text = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(text, Options))
        {
            writer.WriteStartObject();
            write(writer);
            writer.WriteEndObject();
        }

        return BootPolicy.TryParse(text.WrittenMemory, out var policy, out var error)
            ? new BootPolicyDraft.Made(text.WrittenMemory, policy, [.. notes, .. policy.Warnings])
            : new BootPolicyDraft.Refused([error]);
    }

    public static void WriteStrings(this Utf8JsonWriter writer, string name, IEnumerable<string> values)
    {
        writer.WriteStartArray(name);
        foreach (var value in values)
            writer.WriteStringValue(value);
        writer.WriteEndArray();
    }
}

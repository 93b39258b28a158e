using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace Keylime.Attestation;

/// <summary>What the JSON reader leaves to whoever reads a string: of one that nobody reads it never sees whether it is text.</summary>
internal static class JsonText
{
    /// <exception cref="JsonException">It is no UTF-8; the message says where.</exception>
    public static void Demand(ReadOnlySpan<byte> utf8Json)
    {
        if (Utf8.IsValid(utf8Json))
            return;

        var at = 0;
        while (Rune.DecodeFromUtf8(utf8Json[at..], out _, out var used) == OperationStatus.Done)
            at += used;
        throw new JsonException($"$: byte {at} is no UTF-8.");
    }
}

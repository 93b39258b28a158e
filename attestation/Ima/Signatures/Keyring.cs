using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>Keys that may sign files. Immutable.</summary>
public sealed class Keyring
{
    /// <summary>The most keys of one.</summary>
    public const int MaxKeys = 1024;

    internal Keyring(ImmutableArray<ImaKey> sorted) => Keys = sorted;

    public static Keyring Empty { get; } = new([]);

    /// <summary>By id, then by key; none is there twice. Two keys may have one id.</summary>
    public ImmutableArray<ImaKey> Keys { get; }

    /// <summary>A runtime policy's <c>verification-keys</c>: a JSON object in a string, with <c>keyids</c> and <c>pubkeys</c>; or nothing.</summary>
    /// <param name="error">What, where (as a JSON path in that object), and what was expected.</param>
    public static bool TryFromPolicy(string json, [NotNullWhen(true)] out Keyring? keyring, [NotNullWhen(false)] out string? error)
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            (keyring, error) = (json.Length == 0 ? Empty : KeyringReader.Read(json), null);
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            (keyring, error) = (null, e.Message.StartsWith('$') ? e.Message : $"$: no JSON: {e.Message}");
            return false;
        }
    }

    /// <returns>This keyring, where it has the key already.</returns>
    /// <exception cref="InvalidOperationException">It is full.</exception>
    public Keyring Add(ImaKey key)
    {
        ArgumentNullException.ThrowIfNull(key);
        var at = ImaKey.Find(Keys, key);
        if (at >= 0)
            return this;
        return Keys.Length < MaxKeys ? new Keyring(Keys.Insert(~at, key)) : throw new InvalidOperationException($"The keyring has {MaxKeys} keys already.");
    }

    /// <summary>The JSON that <see cref="TryFromPolicy"/> reads; empty for an empty keyring.</summary>
    public string ToPolicy()
    {
        if (Keys.IsEmpty)
            return "";

        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteStartObject("meta");
            json.WriteNumber("version", 1);
            json.WriteEndObject();
            json.WriteStartArray("keyids");
            foreach (var key in Keys)
                json.WriteNumberValue(key.Id);
            json.WriteEndArray();
            json.WriteStartArray("pubkeys");
            foreach (var key in Keys)
                json.WriteBase64StringValue(key.Key.SubjectPublicKeyInfo.Span);
            json.WriteEndArray();
            json.WriteEndObject();
        }

        return System.Text.Encoding.UTF8.GetString(bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
    }
}

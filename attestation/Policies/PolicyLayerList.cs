using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>
/// The text of a layered policy: <c>{"layers":[{"policy":"web-2","digest":"…"},{"policy":"web-1","digest":"…","until":"2026-12-01T00:00:00Z"}]}</c>.
/// </summary>
public sealed class PolicyLayerList
{
    /// <summary>The most bytes of such a text.</summary>
    public const int MaxLength = 64 * 1024;

    private const int MaxName = 128;
    private const int DigestHex = 64;
    private const string TimeForm = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    private PolicyLayerList(ImmutableArray<PolicyLayerReference> layers) => Layers = layers;

    /// <summary>The first one's settings win; 1 to <see cref="RuntimePolicy.MaxLayers"/>.</summary>
    public ImmutableArray<PolicyLayerReference> Layers { get; }

    /// <summary>True for a JSON object whose first member is <c>layers</c>: it means to be one, whether or not it is well-formed.</summary>
    public static bool IsOne(ReadOnlySpan<byte> utf8Json)
    {
        var json = new Utf8JsonReader(utf8Json);
        try
        {
            return json.Read() && json.TokenType == JsonTokenType.StartObject && json.Read() && json.TokenType == JsonTokenType.PropertyName
                && json.ValueTextEquals("layers"u8);
        }
        catch (JsonException)
        {
            return false;
        }
    }

    /// <param name="error">What, where (as a JSON path), and what was expected.</param>
    public static bool TryParse(ReadOnlyMemory<byte> utf8Json, [NotNullWhen(true)] out PolicyLayerList? list, [NotNullWhen(false)] out string? error)
    {
        list = null;
        if (utf8Json.Length > MaxLength)
        {
            error = $"$: {utf8Json.Length} bytes, {MaxLength} at most.";
            return false;
        }

        try
        {
            var layers = Read(utf8Json.Span);
            error = Objection(layers);
            list = error is null ? new PolicyLayerList(layers) : null;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            error = e.Message; // InvalidOperationException is what the JSON reader throws for text that is no valid UTF-8
        }

        return list is not null;
    }

    /// <exception cref="ArgumentException">None, or more than <see cref="RuntimePolicy.MaxLayers"/>, or one name twice.</exception>
    public static PolicyLayerList Of(params IReadOnlyList<PolicyLayerReference> layers)
    {
        ArgumentNullException.ThrowIfNull(layers);
        return Objection(layers) is { } error ? throw new ArgumentException(error, nameof(layers)) : new PolicyLayerList([.. layers]);
    }

    /// <summary>One form of bytes for one list.</summary>
    public byte[] Write()
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text))
        {
            json.WriteStartObject();
            json.WriteStartArray("layers");
            foreach (var layer in Layers)
            {
                json.WriteStartObject();
                json.WriteString("policy", layer.Policy);
                if (layer.Digest is not null)
                    json.WriteString("digest", layer.Digest);
                if (layer.Until is { } until)
                    json.WriteString("until", until.ToUniversalTime().ToString(TimeForm, CultureInfo.InvariantCulture));
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return text.ToArray();
    }

    private static ImmutableArray<PolicyLayerReference> Read(ReadOnlySpan<byte> text)
    {
        var json = new Utf8JsonReader(text);
        Expect(ref json, JsonTokenType.StartObject, "$", "an object");
        Expect(ref json, JsonTokenType.PropertyName, "$", "the member 'layers'");
        if (!json.ValueTextEquals("layers"u8))
            throw new JsonException($"$.{json.GetString()}: the member 'layers' is expected, and no other.");
        Expect(ref json, JsonTokenType.StartArray, "$.layers", "an array");
        var layers = ImmutableArray.CreateBuilder<PolicyLayerReference>();
        for (json.Read(); json.TokenType != JsonTokenType.EndArray; json.Read())
        {
            if (layers.Count == RuntimePolicy.MaxLayers)
                throw new JsonException($"$.layers: more than {RuntimePolicy.MaxLayers} layers.");
            if (json.TokenType != JsonTokenType.StartObject)
                throw new JsonException($"$.layers[{layers.Count}]: {json.TokenType} found, an object expected.");
            layers.Add(ReadLayer(ref json, $"$.layers[{layers.Count}]"));
        }

        Expect(ref json, JsonTokenType.EndObject, "$", "no other member");
        return json.Read() ? throw new JsonException("$: text behind the end.") : layers.DrainToImmutable();
    }

    private static PolicyLayerReference ReadLayer(ref Utf8JsonReader json, string where)
    {
        string? policy = null, digest = null, until = null;
        while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
        {
            var name = json.GetString()!;
            Expect(ref json, JsonTokenType.String, $"{where}.{name}", "a string");
            ref var member = ref policy;
            switch (name)
            {
                case "policy":
                    break;
                case "digest":
                    member = ref digest;
                    break;
                case "until":
                    member = ref until;
                    break;
                default:
                    throw new JsonException($"{where}.{name}: 'policy', 'digest' and 'until' are expected.");
            }

            if (member is not null)
                throw new JsonException($"{where}.{name}: the member is there twice.");
            member = json.GetString();
        }

        if (policy is null)
            throw new JsonException($"{where}.policy: the member is missing.");
        if (until is null)
            return new PolicyLayerReference(policy, digest, null);
        return DateTimeOffset.TryParseExact(until, TimeForm, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time)
            ? new PolicyLayerReference(policy, digest, time)
            : throw new JsonException($"{where}.until: a time like 2026-12-01T00:00:00Z is expected.");
    }

    private static string? Objection(IReadOnlyList<PolicyLayerReference> layers)
    {
        if (layers.Count is 0 or > RuntimePolicy.MaxLayers)
            return $"$.layers: {layers.Count} layers, 1 to {RuntimePolicy.MaxLayers} are expected.";
        for (var i = 0; i < layers.Count; i++)
        {
            if (layers[i].Policy.Length is 0 or > MaxName)
                return $"$.layers[{i}].policy: a name of 1 to {MaxName} characters is expected.";
            if (layers.Take(i).Any(l => l.Policy == layers[i].Policy))
                return $"$.layers[{i}].policy: '{layers[i].Policy}' is there twice.";
            if (layers[i].Digest is { } digest && (digest.Length != DigestHex || !digest.All(char.IsAsciiHexDigitLower)))
                return $"$.layers[{i}].digest: a SHA-256 in lower-case hex is expected.";
        }

        return null;
    }

    private static void Expect(ref Utf8JsonReader json, JsonTokenType type, string where, string expected)
    {
        if (!json.Read() || json.TokenType != type)
            throw new JsonException($"{where}: {json.TokenType} found, {expected} expected.");
    }
}

/// <summary>One line of it.</summary>
/// <param name="Policy">The policy's name.</param>
/// <param name="Digest">SHA-256 of the policy's text, lower-case hex; <see langword="null"/> until the service pins it.</param>
public sealed record PolicyLayerReference(string Policy, string? Digest, DateTimeOffset? Until);

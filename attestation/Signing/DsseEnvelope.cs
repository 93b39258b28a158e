using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>A signed text: a DSSE envelope (secure-systems-lab/dsse, envelope.md and protocol.md).</summary>
public sealed class DsseEnvelope
{
    /// <summary>The payload type of Keylime's runtime policies.</summary>
    public const string RuntimePolicyType = "application/vnd.keylime+json";

    /// <summary>The longest envelope, in bytes.</summary>
    public const int MaxLength = 192 * 1024 * 1024;

    /// <summary>The most signatures of one.</summary>
    public const int MaxSignatures = 16;

    internal DsseEnvelope(string payloadType, ReadOnlyMemory<byte> payload, ImmutableArray<DsseSignature> signatures) =>
        (PayloadType, UntrustedPayload, Signatures) = (payloadType, payload, signatures);

    public string PayloadType { get; }

    /// <summary>Signed by nobody until <see cref="Verify"/> says so.</summary>
    public ReadOnlyMemory<byte> UntrustedPayload { get; }

    public ImmutableArray<DsseSignature> Signatures { get; }

    /// <summary>True for a JSON object with a member <c>payload</c>: an envelope, well formed or not, as opposed to a bare policy.</summary>
    public static bool IsEnvelope(ReadOnlySpan<byte> utf8Json)
    {
        try
        {
            var json = new Utf8JsonReader(utf8Json);
            if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
                return false;
            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                if (json.ValueTextEquals("payload"u8))
                    return true;
                json.Skip();
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // no JSON: whoever reads it as a policy says what is wrong with it
        }

        return false;
    }

    /// <summary>Reads an envelope. Members that the format does not know are ignored, as it demands; one that it knows is never there twice.</summary>
    /// <param name="error">What, where (as a JSON path), and what was expected.</param>
    public static bool TryParse(ReadOnlyMemory<byte> utf8Json, [NotNullWhen(true)] out DsseEnvelope? envelope, [NotNullWhen(false)] out string? error)
    {
        try
        {
            if (utf8Json.Length > MaxLength)
                throw new JsonException($"$: {utf8Json.Length} bytes, {MaxLength} at most.");
            using var document = JsonDocument.Parse(utf8Json, new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = 16 });
            (envelope, error) = (DsseReader.Read(document.RootElement), null);
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is what the JSON reader throws for text that is no valid UTF-8
            (envelope, error) = (null, e.Message.StartsWith('$') ? e.Message : $"$: no JSON: {e.Message}");
            return false;
        }
    }

    /// <summary>Who of the trusted ones signed it.</summary>
    /// <param name="at">When certificates have to be valid.</param>
    public DsseResult Verify(SigningTrust trust, DateTimeOffset at)
    {
        return DsseSeal.Of(this).TryVerify(trust, at, out var signers, out var why)
            ? new DsseResult.Verified(PayloadType, UntrustedPayload, signers)
            : new DsseResult.Rejected(why);
    }

    /// <summary>Signs a payload into a new envelope.</summary>
    /// <returns>JSON.</returns>
    public static byte[] Sign(string payloadType, ReadOnlySpan<byte> payload, params IReadOnlyList<DsseSigner> signers) =>
        new DsseEnvelope(payloadType, payload.ToArray(), []).AddSignatures(signers);

    /// <summary>The envelope with signatures more; those that are there stay.</summary>
    /// <returns>JSON.</returns>
    public byte[] AddSignatures(params IReadOnlyList<DsseSigner> signers)
    {
        ArgumentNullException.ThrowIfNull(signers);
        var bytes = PreAuthenticationEncoding();
        var all = Signatures.AddRange(signers.Select(signer => new DsseSignature(signer.KeyId, signer.Sign(bytes))));
        if (all.Length is 0 or > MaxSignatures)
            throw new InvalidOperationException($"{all.Length} signatures; 1 to {MaxSignatures} are expected.");

        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text))
        {
            json.WriteStartObject();
            json.WriteBase64String("payload", UntrustedPayload.Span);
            json.WriteString("payloadType", PayloadType);
            json.WriteStartArray("signatures");
            foreach (var signature in all)
            {
                json.WriteStartObject();
                if (signature.KeyId.Length > 0)
                    json.WriteString("keyid", signature.KeyId);
                json.WriteBase64String("sig", signature.Value.Span);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return text.ToArray();
    }

    /// <summary>What is signed (protocol.md, "Signature Definition"): type and payload, each with its length in front, so that neither can pass for part of the other.</summary>
    internal byte[] PreAuthenticationEncoding() => [.. PreAuthenticationHead(), .. UntrustedPayload.Span];

    /// <summary>What stands before the payload in it.</summary>
    internal byte[] PreAuthenticationHead() => Encoding.UTF8.GetBytes(
        string.Create(CultureInfo.InvariantCulture, $"DSSEv1 {Encoding.UTF8.GetByteCount(PayloadType)} {PayloadType} {UntrustedPayload.Length} "));
}

using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Protocol.Upstream;

/// <summary>The envelope around every answer of Keylime's v2 API: <c>code</c>, <c>status</c>, <c>results</c>, none of them left out.</summary>
public sealed record Envelope<T>(int Code, string Status, T Results) : IJsonOnDeserialized
{
    // Of a generic parameter the serializer does not know whether it may be null.
    void IJsonOnDeserialized.OnDeserialized()
    {
        if (Results is null)
            throw new JsonException("results are null where an object is expected");
    }
}

/// <summary>An answer with nothing in it: <c>{}</c>.</summary>
public sealed record NoResults;

/// <summary><c>GET /version</c>.</summary>
public sealed record VersionResults(string CurrentVersion, IReadOnlyList<string> SupportedVersions);

/// <summary><c>POST /v2.x/agents/{id}</c>: who a TPM is. Keys are base64 of TPM2B_PUBLIC.</summary>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record RegisterRequest
{
    /// <summary>Only where the path does not carry it.</summary>
    public string? AgentId { get; init; }

    public byte[]? EkTpm { get; init; }

    public byte[]? AikTpm { get; init; }

    /// <summary>PEM (one certificate or a chain), base64 of DER, or empty where the TPM has none.</summary>
    public string? Ekcert { get; init; }

    public string? IakCert { get; init; }

    public string? IdevidCert { get; init; }

    public byte[]? IakTpm { get; init; }

    public byte[]? IdevidTpm { get; init; }

    public byte[]? IakAttest { get; init; }

    public byte[]? IakSign { get; init; }

    public string? MtlsCert { get; init; }

    public string? Ip { get; init; }

    /// <summary>A number from most agents, a string from some; only ever echoed.</summary>
    public JsonElement? Port { get; init; }
}

/// <summary>The credential to activate: base64 of a <c>CredentialBlob</c>.</summary>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record RegisterResults(byte[] Blob);

/// <summary><c>PUT /v2.x/agents/{id}</c>: hex HMAC-SHA384 of the agent id under the base64 text of the activated credential.</summary>
public sealed record ActivateRequest(string? AuthTag);

/// <summary><c>GET /v2.x/agents</c>.</summary>
public sealed record RegisteredAgentsResults(IReadOnlyList<string> Uuids);

/// <summary><c>GET /v2.x/agents/{id}</c>, in upstream's order.</summary>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record RegisteredAgentResults
{
    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string AgentId { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required byte[]? EkTpm { get; init; }

    /// <summary>Base64 of DER.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required byte[]? Ekcert { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required byte[]? AikTpm { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string? MtlsCert { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required string? Ip { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required JsonElement? Port { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.Never)]
    public required int Regcount { get; init; }
}

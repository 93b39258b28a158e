using System.Text.Json.Serialization;

namespace Keylime.Tenant.Entra;

/// <summary>An answer of Entra ID's end points, or of a managed identity's: RFC 6749, 5.1 and 5.2; RFC 8628, 3.2.</summary>
internal sealed record EntraAnswer
{
    public string? AccessToken { get; init; }

    public string? RefreshToken { get; init; }

    /// <summary>In seconds.</summary>
    public long? ExpiresIn { get; init; }

    /// <summary>In seconds since 1970; of managed identities.</summary>
    public long? ExpiresOn { get; init; }

    public string? DeviceCode { get; init; }

    public string? UserCode { get; init; }

    public string? VerificationUri { get; init; }

    /// <summary>In seconds, between two questions.</summary>
    public int? Interval { get; init; }

    public string? Error { get; init; }

    public string? ErrorDescription { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, NumberHandling = JsonNumberHandling.AllowReadingFromString)]
[JsonSerializable(typeof(EntraAnswer))]
internal sealed partial class EntraJson : JsonSerializerContext;

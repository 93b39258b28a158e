using System.Text.Json.Serialization;

namespace Keylime.Functions.Keys.Azure;

/// <summary>Messages of Key Vault's REST API for keys, as far as we use them (Microsoft's reference, 7.4). Binary members are base64url.</summary>
internal sealed record KeyBundle(JsonWebKey Key)
{
    public KeyAttributes? Attributes { get; init; }
}

/// <param name="Kid"><c>https://NAME.vault.azure.net/keys/KEY/VERSION</c>.</param>
/// <param name="Kty"><c>RSA</c>, <c>RSA-HSM</c>, <c>EC</c> or <c>EC-HSM</c>.</param>
internal sealed record JsonWebKey(string Kid, string Kty)
{
    public string? N { get; init; }

    public string? E { get; init; }

    public string? Crv { get; init; }

    public string? X { get; init; }

    public string? Y { get; init; }
}

internal sealed record KeyAttributes
{
    public bool? Enabled { get; init; }

    /// <summary>From when it is valid; these are seconds since 1970, UTC.</summary>
    public long? Nbf { get; init; }

    /// <summary>Until when.</summary>
    public long? Exp { get; init; }

    public long? Created { get; init; }
}

/// <summary>A page of the versions of a key, enabled and disabled ones.</summary>
/// <param name="Value">In no order that is promised.</param>
internal sealed record KeyList(IReadOnlyList<KeyItem> Value)
{
    /// <summary>Where the next page is; none behind the last.</summary>
    public string? NextLink { get; init; }
}

/// <param name="Kid">As <see cref="JsonWebKey"/> has it.</param>
internal sealed record KeyItem(string Kid)
{
    public KeyAttributes? Attributes { get; init; }
}

/// <summary>What <c>unwrapkey</c> and <c>sign</c> want.</summary>
internal sealed record KeyOperation(string Alg, string Value);

internal sealed record KeyOperationResult(string Kid, string Value);

internal sealed record KeyVaultError(KeyVaultErrorDetail? Error);

internal sealed record KeyVaultErrorDetail
{
    public string? Code { get; init; }

    public KeyVaultErrorDetail? Innererror { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(KeyBundle))]
[JsonSerializable(typeof(KeyList))]
[JsonSerializable(typeof(KeyOperation))]
[JsonSerializable(typeof(KeyOperationResult))]
[JsonSerializable(typeof(KeyVaultError))]
internal sealed partial class KeyVaultJson : JsonSerializerContext;

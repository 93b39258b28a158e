namespace Keylime.Functions.Storage;

/// <summary>The master key of the key ring that instances share, wrapped for the vault: a copy of the table opens nothing.</summary>
internal sealed record WrappedMasterKey
{
    public const int CurrentSchema = 1;

    public const string OnlyName = "master";

    public int Schema { get; init; } = CurrentSchema;

    public string Name { get; init; } = OnlyName;

    /// <summary>Of the vault's key that wraps it.</summary>
    public required string KeyVersion { get; init; }

    /// <summary>By RSA-OAEP with SHA-256.</summary>
    public required ReadOnlyMemory<byte> Wrapped { get; init; }

    public required DateTimeOffset CreatedAt { get; init; }
}

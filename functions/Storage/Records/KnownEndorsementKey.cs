namespace Keylime.Functions.Storage;

/// <summary>An endorsement key of the operator's own list: a TPM that was seen in the factory, in a delivery note, in an inventory.</summary>
internal sealed record KnownEndorsementKey
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>SHA-256 of the key's SubjectPublicKeyInfo, in hex.</summary>
    public required string EndorsementKeyHash { get; init; }

    /// <summary>The id that it must register under; any id where it is left out.</summary>
    public string? Agent { get; init; }

    /// <summary>For a person: a serial number, a rack.</summary>
    public string? Note { get; init; }

    public required DateTimeOffset AddedAt { get; init; }
}

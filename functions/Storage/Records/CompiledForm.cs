namespace Keylime.Functions.Storage;

/// <summary>Where the compiled form of a policy's text is, said by one who had the text: under the key ring, because whoever can write to the store could say something else.</summary>
internal sealed record CompiledForm
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    /// <summary>See <see cref="KeyOf"/>.</summary>
    public required string Key { get; init; }

    /// <summary>SHA-256 of the form, in hex: its name among the blobs.</summary>
    public required string Blob { get; init; }

    /// <summary>Of the key and the blob's name.</summary>
    public required ReadOnlyMemory<byte> Mac { get; init; }

    /// <summary>Programs of two versions do not take the row from each other.</summary>
    public static string KeyOf(string textDigest, int version) => $"{textDigest}-{version}";
}

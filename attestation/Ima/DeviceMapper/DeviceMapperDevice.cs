namespace Keylime.Attestation;

/// <summary>A device as measurements have told of it so far.</summary>
/// <param name="Rule">The name of the rule that it is under.</param>
internal sealed record DeviceMapperDevice(string Name, string Uuid, string Rule)
{
    public DeviceMapperStanding Standing { get; init; }

    /// <summary>SHA-256 of the table that a resume made active; empty before.</summary>
    public ReadOnlyMemory<byte> ActiveTable { get; init; }

    /// <summary>SHA-256 of the table that is loaded and not active yet; empty where there is none.</summary>
    public ReadOnlyMemory<byte> LoadedTable { get; init; }

    /// <summary>The measurements of a table whose last row has not come yet, one behind the other; empty where there is none.</summary>
    public ReadOnlyMemory<byte> Pending { get; init; }

    /// <summary>The row that such a table goes on with.</summary>
    public int NextTarget { get; init; }
}

internal enum DeviceMapperStanding : byte
{
    /// <summary>A table is loaded as the rule wants it, and the rule wants a resume too.</summary>
    Waiting,

    InOrder,

    /// <summary>Something happened that the rule does not allow. Another table, where the rule allows one, makes it good.</summary>
    Refused,
}

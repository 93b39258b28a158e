using System.Globalization;
using Keylime.Protocol.Notices;

namespace Keylime.Functions.Storage;

/// <summary>A notice to machines: added once, and changed once at most, by the signature that the vault could not give at that moment.</summary>
internal sealed record NoticeRecord
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required Notice Notice { get; init; }

    /// <summary>As it is sent; <see langword="null"/> as long as nobody signed it.</summary>
    public string? Signed { get; init; }

    /// <summary>What all keys start with.</summary>
    public const string KeyPrefix = "9"; // as long.MaxValue does, and will for as many numbers as there can be

    public long Number => Notice.Number;

    public string Key => KeyOf(Notice.Number);

    /// <summary>The newest comes first.</summary>
    public static string KeyOf(long number) => (long.MaxValue - number).ToString("d19", CultureInfo.InvariantCulture);

    public static long NumberOf(string key) => long.MaxValue - long.Parse(key, NumberStyles.None, CultureInfo.InvariantCulture);
}

/// <summary>That an event is to be a notice: the first to add it may number it, and whoever tells the event again finds out by it where to look.</summary>
internal sealed record NoticeClaim
{
    public const int CurrentSchema = 1;

    public int Schema { get; init; } = CurrentSchema;

    public required string EventId { get; init; }

    /// <summary>A number that was taken when the claim was made: the notice of this event has a greater one.</summary>
    public required long After { get; init; }
}

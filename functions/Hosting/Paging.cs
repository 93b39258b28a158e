using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Hosting;

/// <summary><c>?after=</c> and <c>?limit=</c> of our own lists.</summary>
internal static class Paging
{
    public const int DefaultLimit = 100;
    public const int MaxLimit = 1000;

    public static bool TryRead(string? after, string? limit, out Continuation? start, out int count, [NotNullWhen(false)] out Refusal? refusal)
    {
        refusal = null;
        count = DefaultLimit;
        if (!Continuation.TryParse(after, out start))
            refusal = Bad("after is not what an earlier page gave.");
        else if (limit is not null && (!int.TryParse(limit, NumberStyles.None, CultureInfo.InvariantCulture, out count) || count is < 1 or > MaxLimit))
            refusal = Bad($"limit is a number from 1 to {MaxLimit}.");
        return refusal is null;
    }

    private static Refusal Bad(string detail) => new(StatusCodes.Status400BadRequest, "invalid_query", detail);
}

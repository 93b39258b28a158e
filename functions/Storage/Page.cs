using System.Buffers.Text;
using System.Text;

namespace Keylime.Functions.Storage;

/// <summary>Some of the answers to a query, and where the rest starts.</summary>
/// <param name="Next"><see langword="null"/> on the last page.</param>
internal sealed record Page<T>(IReadOnlyList<T> Items, Continuation? Next)
{
    /// <summary>Rows of this page that could not be read and are left out: who asks whether there is none at all must look here too.</summary>
    public int Unreadable { get; init; }
}

/// <summary>Where a page starts: right behind a key. Opaque to whoever carries it, and no secret.</summary>
internal readonly record struct Continuation(string Key)
{
    private const int MaxLength = 2048;

    public override string ToString() => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(Key));

    /// <summary>Reads what <see cref="ToString"/> wrote; nothing at all means the first page.</summary>
    public static bool TryParse(string? text, out Continuation? continuation)
    {
        continuation = null;
        if (string.IsNullOrEmpty(text))
            return true;
        if (text.Length > MaxLength || !Base64Url.IsValid(text))
            return false;

        continuation = new Continuation(Encoding.UTF8.GetString(Base64Url.DecodeFromChars(text)));
        return true;
    }
}

using System.Buffers;
using System.Globalization;
using System.Text;

namespace Keylime.Attestation;

/// <summary>A path as a person may read it: what could move a cursor or pass for other text is escaped, and so are bytes that are no UTF-8.</summary>
internal static class PrintablePath
{
    public static string From(ReadOnlySpan<byte> path)
    {
        var text = new StringBuilder(path.Length);
        while (!path.IsEmpty)
        {
            var status = Rune.DecodeFromUtf8(path, out var rune, out var used);
            if (status == OperationStatus.Done && IsPlain(rune))
                text.Append(rune.ToString());
            else
                AppendEscaped(text, path[..used]);
            path = path[used..];
        }

        return text.ToString();
    }

    /// <summary>The bytes that a printable path stands for.</summary>
    /// <returns><see langword="null"/> if it is not one.</returns>
    public static byte[]? Parse(string printable)
    {
        var bytes = new List<byte>(printable.Length);
        Span<byte> utf8 = stackalloc byte[4];
        for (var i = 0; i < printable.Length;)
        {
            if (printable[i] == '\\')
            {
                if (i + 4 > printable.Length || printable[i + 1] != 'x'
                    || !byte.TryParse(printable.AsSpan(i + 2, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
                    return null;
                bytes.Add(value);
                i += 4;
                continue;
            }

            if (Rune.DecodeFromUtf16(printable.AsSpan(i), out var rune, out var used) != OperationStatus.Done)
                return null;
            bytes.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
            i += used;
        }

        return [.. bytes];
    }

    private static bool IsPlain(Rune rune) => rune.Value != '\\' && Rune.GetUnicodeCategory(rune) is not
        (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.PrivateUse or UnicodeCategory.Surrogate or UnicodeCategory.OtherNotAssigned);

    private static void AppendEscaped(StringBuilder text, ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
            text.Append(CultureInfo.InvariantCulture, $"\\x{b:x2}");
    }
}

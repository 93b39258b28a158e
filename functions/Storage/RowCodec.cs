using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Keylime.Functions.Storage;

/// <summary>Rows to values and back, for every store. A row that cannot be read stops the one who wants it, and nobody else.</summary>
/// <param name="upgrade">Makes a row of an earlier version one of the newest: what is written back says the version that it is written in.</param>
internal sealed class RowCodec<T>(JsonTypeInfo<T> type, Func<T, int> schema, int newest, UnreadableRows unreadable, Func<T, T>? upgrade = null)
    where T : class
{
    public byte[] Encode(T value) => JsonSerializer.SerializeToUtf8Bytes(value, type);

    /// <exception cref="UnreadableRowException">The row cannot be read.</exception>
    public T Decode(string key, byte[] body) =>
        TryDecode(key, body) ?? throw new UnreadableRowException($"The stored {typeof(T).Name} '{key}' cannot be read.");

    /// <summary>One page of a query that asked for one row more than the page holds.</summary>
    /// <param name="nameOf">A row's own name, where its place in the list is another.</param>
    public Page<T> ToPage(List<(string Key, byte[] Body)> rows, int limit, Func<string, string>? nameOf = null)
    {
        var page = rows.Count > limit ? rows.GetRange(0, limit) : rows;
        var next = rows.Count > limit ? new Continuation(page[^1].Key) : (Continuation?)null;
        return ToPage(page.ConvertAll(row => (nameOf?.Invoke(row.Key) ?? row.Key, row.Body)), next);
    }

    /// <summary>A page of those that are wanted.</summary>
    public static Page<T> Only(Page<T> page, Func<T, bool> wanted) => page with { Items = [.. page.Items.Where(wanted)] };

    /// <summary>One page, of rows that are known to be its own.</summary>
    public Page<T> ToPage(List<(string Key, byte[] Body)> rows, Continuation? next)
    {
        T[] items = [.. rows.Select(row => TryDecode(row.Key, row.Body)).OfType<T>()];
        return new Page<T>(items, next) { Unreadable = rows.Count - items.Length };
    }

    /// <returns><see langword="null"/> where it cannot be read; that is reported.</returns>
    public T? TryDecode(string key, byte[] body)
    {
        string why;
        try
        {
            var value = JsonSerializer.Deserialize(body, type);
            if (value is not null && schema(value) <= newest)
                return schema(value) < newest && upgrade is not null ? upgrade(value) : value;
            why = value is null ? "It is empty." : $"A newer program wrote it, in version {schema(value)} where this one reads {newest}.";
        }
        catch (JsonException e)
        {
            why = e.Message;
        }

        unreadable.Report(typeof(T).Name, key, why);
        return null;
    }
}

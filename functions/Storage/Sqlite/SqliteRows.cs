using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>Rows to values and back. A row that cannot be read stops the one who wants it, and nobody else.</summary>
internal sealed partial class SqliteRows<T>(JsonTypeInfo<T> type, Func<T, int> schema, int newest, ILogger log)
    where T : class
{
    public byte[] Encode(T value) => JsonSerializer.SerializeToUtf8Bytes(value, type);

    /// <exception cref="StorageUnavailableException">The row cannot be read.</exception>
    public T Decode(string key, byte[] body) =>
        TryDecode(key, body) ?? throw new StorageUnavailableException($"The stored {typeof(T).Name} '{key}' cannot be read.");

    /// <summary>One page of a query that asked for one row more than the page holds.</summary>
    public Page<T> ToPage(List<(string Key, byte[] Body)> rows, int limit)
    {
        var page = rows.Count > limit ? rows.GetRange(0, limit) : rows;
        var next = rows.Count > limit ? new Continuation(page[^1].Key) : (Continuation?)null;
        return new Page<T>([.. page.Select(row => TryDecode(row.Key, row.Body)).OfType<T>()], next);
    }

    private T? TryDecode(string key, byte[] body)
    {
        try
        {
            var value = JsonSerializer.Deserialize(body, type);
            if (value is not null && schema(value) <= newest)
                return value;
            LogUnreadable(log, typeof(T).Name, key, "A newer program wrote it.");
        }
        catch (JsonException e)
        {
            LogUnreadable(log, typeof(T).Name, key, e.Message);
        }

        return null;
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "The stored {Kind} '{Key}' cannot be read and is left out: {Why}")]
    private static partial void LogUnreadable(ILogger log, string kind, string key, string why);
}

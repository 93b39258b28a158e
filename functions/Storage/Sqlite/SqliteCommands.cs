using Microsoft.Data.Sqlite;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>Commands in one line. Values are always parameters, never part of the text.</summary>
internal static class SqliteCommands
{
    private const int ConstraintViolated = 19; // SQLITE_CONSTRAINT

    public static string NewETag() => Guid.NewGuid().ToString("N");

    extension(SqliteConnection connection)
    {
        public SqliteCommand Command(string text, params ReadOnlySpan<(string Name, object? Value)> parameters)
        {
            var command = ((PreparedConnection)connection).Borrow(text);
            foreach (var (name, value) in parameters)
                command.Parameters.AddWithValue(name, value ?? DBNull.Value);
            return command;
        }

        /// <returns>How many rows changed.</returns>
        public int Execute(string text, params ReadOnlySpan<(string Name, object? Value)> parameters)
        {
            using var command = connection.Command(text, parameters);
            return command.ExecuteNonQuery();
        }

        /// <returns><see langword="false"/> if a row of that key is there already.</returns>
        public bool TryInsert(string text, params ReadOnlySpan<(string Name, object? Value)> parameters)
        {
            using var command = connection.Command(text, parameters);
            try
            {
                return command.ExecuteNonQuery() == 1;
            }
            catch (SqliteException e) when (e.SqliteErrorCode == ConstraintViolated)
            {
                return false;
            }
        }
    }

    /// <summary>The rows of a query, as bytes and a second column.</summary>
    public static List<(string Key, byte[] Body)> ReadRows(this SqliteCommand command)
    {
        using var reader = command.ExecuteReader();
        var rows = new List<(string, byte[])>();
        while (reader.Read())
            rows.Add((reader.GetString(0), reader.GetFieldValue<byte[]>(1)));
        return rows;
    }
}

using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>
/// One SQLite file in WAL mode. Reads run beside each other and beside the one writer; writes go through it,
/// because SQLite would make them wait by polling.
/// </summary>
internal sealed class SqliteDatabase : IStoreHealth, IDisposable
{
    private const int SchemaVersion = 1;

    // Tables were added to this version, and none was changed: a program that knows fewer of them still reads the file.
    // That of registrations has a key of another name.
    private static readonly string[] Records = [.. StoreServices.Kinds.Where(static name => name != RecordKinds.Registrations.Name)];

    private const int Busy = 5; // SQLITE_BUSY
    private const int Locked = 6; // SQLITE_LOCKED

    private readonly Action? _busy;
    private readonly string _connectionString;
    private readonly ConcurrentBag<SqliteConnection> _idle = [];
    private readonly SqliteWriter _writer;
    private bool _disposed;

    private SqliteDatabase(string path, Action? busy)
    {
        _busy = busy;
        _connectionString = new SqliteConnectionStringBuilder
        {
            DataSource = path,
            Pooling = false, // the pragmas are a connection's, so we keep the connections ourselves
            DefaultTimeout = 10,
        }.ToString();
        _writer = new SqliteWriter(Connect);
    }

    public string Name => "sqlite";

    /// <param name="busy">Is called when another process kept the file from us for longer than we wait.</param>
    /// <exception cref="StorageUnavailableException">The file cannot be opened, or a newer version of this program wrote it.</exception>
    public static SqliteDatabase Open(string path, Action? busy = null)
    {
        var database = new SqliteDatabase(path, busy);
        database.Run(database.CreateSchema);
        return database;
    }

    public Task<T> ReadAsync<T>(Func<SqliteConnection, T> query, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        return Task.FromResult(Run(query)); // SQLite has no asynchronous I/O, and a point read takes microseconds
    }

    /// <summary>A change of one transaction, which is on the disk when this returns.</summary>
    public async Task<T> WriteAsync<T>(Func<SqliteConnection, T> change, CancellationToken cancel)
    {
        try
        {
            return await _writer.WriteAsync(change, cancel);
        }
        catch (SqliteException e)
        {
            throw Translate(e);
        }
    }

    public Task CheckAsync(CancellationToken cancel) =>
        ReadAsync(connection => connection.Command("SELECT count(*) FROM nodes WHERE partition = ''").ExecuteScalar(), cancel);

    public void Dispose()
    {
        _disposed = true;
        _writer.Dispose();
        while (_idle.TryTake(out var connection))
            connection.Dispose();
    }

    private T Run<T>(Func<SqliteConnection, T> work)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        SqliteConnection? connection = null;
        try
        {
            if (!_idle.TryTake(out connection))
                connection = Connect();
            var result = work(connection);
            _idle.Add(connection);
            return result;
        }
        catch (SqliteException e)
        {
            connection?.Dispose(); // whatever is wrong with it, the next one starts afresh
            throw Translate(e);
        }
    }

    private StorageUnavailableException Translate(SqliteException e)
    {
        if (e.SqliteErrorCode is Busy or Locked)
            _busy?.Invoke();
        return new StorageUnavailableException($"SQLite: {e.Message}", e);
    }

    private PreparedConnection Connect()
    {
        var connection = new PreparedConnection(_connectionString);
        try
        {
            connection.Open();
            using var pragmas = connection.Command("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
            pragmas.ExecuteNonQuery();
            return connection;
        }
        catch (SqliteException)
        {
            connection.Dispose();
            throw;
        }
    }

    private bool CreateSchema(SqliteConnection connection)
    {
        using var ask = connection.Command("PRAGMA user_version");
        var version = (long)(ask.ExecuteScalar() ?? 0L);
        if (version > SchemaVersion)
            throw new StorageUnavailableException($"The database has version {version}, this program writes {SchemaVersion}: a newer program made it.");

        // Tables with row numbers: a row is kilobytes of JSON, and a table WITHOUT ROWID would keep such bodies in the inner pages of its tree too, four to a page and as deep as that makes it.
        // Such tables of earlier programs stay as they are; every statement here is the same for both.
        using var create = connection.Command($"""
            BEGIN IMMEDIATE;
            CREATE TABLE IF NOT EXISTS nodes (
                partition TEXT NOT NULL, id TEXT NOT NULL, etag TEXT NOT NULL,
                verdict INTEGER NOT NULL, late_at INTEGER NOT NULL, silent_at INTEGER NOT NULL,
                retired INTEGER NOT NULL, open INTEGER NOT NULL, policy TEXT,
                body BLOB NOT NULL, PRIMARY KEY (partition, id));
            CREATE INDEX IF NOT EXISTS nodes_policy ON nodes (policy);
            CREATE TABLE IF NOT EXISTS registrations (
                id TEXT NOT NULL PRIMARY KEY, etag TEXT NOT NULL, body BLOB NOT NULL);
            CREATE TABLE IF NOT EXISTS verdicts (
                node TEXT NOT NULL, attestation INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (node, attestation));
            CREATE TABLE IF NOT EXISTS events (
                node TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (node, key));
            CREATE INDEX IF NOT EXISTS events_time ON events (key, node);
            CREATE TABLE IF NOT EXISTS outbox (
                channel TEXT NOT NULL, place TEXT NOT NULL, etag TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (channel, place));
            CREATE TABLE IF NOT EXISTS deliveries (
                channel TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (channel, key));
            {string.Concat(Records.Select(static name => $"CREATE TABLE IF NOT EXISTS {name} (name TEXT NOT NULL PRIMARY KEY, etag TEXT NOT NULL, body BLOB NOT NULL);\n"))}
            PRAGMA user_version = {SchemaVersion};
            COMMIT;
            """);
        create.ExecuteNonQuery();

        // Added later, and null for whoever does not know of it.
        using var known = connection.Command("SELECT count(*) FROM pragma_table_info('nodes') WHERE name = 'boot_policy'");
        if ((long)(known.ExecuteScalar() ?? 0L) == 0)
        {
            using var add = connection.Command("ALTER TABLE nodes ADD COLUMN boot_policy TEXT");
            add.ExecuteNonQuery();
        }

        return true;
    }
}

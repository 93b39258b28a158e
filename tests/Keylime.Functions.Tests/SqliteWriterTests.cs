using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Sqlite;

namespace Keylime.Functions.Tests;

/// <summary>Writes that share a flush: all of them are there when they return, and what goes wrong in one is of no other.</summary>
public sealed class SqliteWriterTests : IDisposable
{
    private const string Insert = "INSERT INTO events (node, key, body) VALUES ($node, $key, $body)";

    private readonly string _folder = Directory.CreateTempSubdirectory("writer-").FullName;
    private readonly SqliteDatabase _database;

    public SqliteWriterTests() => _database = SqliteDatabase.Open(Path.Combine(_folder, "keylime.db"));

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_waits_while_the_writer_is_at_work_is_written_together_and_told_when_it_is_there()
    {
        const int count = 100;
        using var go = new ManualResetEventSlim();
        var first = _database.WriteAsync(_ => go.Wait(TimeSpan.FromSeconds(30), Cancel), Cancel);
        long seenWithin = -1;
        var waiting = Enumerable.Range(0, count).Select(i => _database.WriteAsync(connection =>
        {
            if (i == count - 1)
                seenWithin = CountAsync().GetAwaiter().GetResult(); // another connection, in the middle of it
            return Add(connection, $"{i:d3}");
        }, Cancel)).ToArray();
        go.Set();
        Assert.True(await first);
        Assert.All(await Task.WhenAll(waiting), Assert.True);
        Assert.Equal(0, seenWithin);
        Assert.Equal(count, await CountAsync());
    }

    [Fact]
    public async Task A_change_that_fails_leaves_nothing_behind_and_takes_nobody_with_it()
    {
        using var go = new ManualResetEventSlim();
        var first = _database.WriteAsync(_ => go.Wait(TimeSpan.FromSeconds(30), Cancel), Cancel);
        var good = Enumerable.Range(0, 20).Select(i => _database.WriteAsync(connection => Add(connection, $"{i:d3}"), Cancel)).ToArray();
        var bug = _database.WriteAsync<bool>(connection =>
        {
            Add(connection, "bug");
            throw new InvalidOperationException("in the middle");
        }, Cancel);
        var wrong = _database.WriteAsync(static connection =>
        {
            Add(connection, "wrong");
            return connection.Execute("INSERT INTO no_such_table VALUES (1)") == 1;
        }, Cancel);
        var again = _database.WriteAsync(static connection => Add(connection, "000"), Cancel); // a key that is there
        using var source = new CancellationTokenSource();
        var cancelled = _database.WriteAsync(static connection => Add(connection, "cancelled"), source.Token);
        await source.CancelAsync();
        go.Set();

        await first;
        Assert.All(await Task.WhenAll(good), Assert.True);
        Assert.Equal("in the middle", (await Assert.ThrowsAsync<InvalidOperationException>(() => bug)).Message);
        await Assert.ThrowsAsync<StorageUnavailableException>(() => wrong);
        Assert.False(await again);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        Assert.Equal(20, await CountAsync());
        Assert.True(await _database.WriteAsync(static connection => Add(connection, "after"), Cancel)); // and it goes on
    }

    [Fact]
    public async Task What_was_told_is_there_for_whoever_opens_the_file_next()
    {
        var path = Path.Combine(_folder, "keylime.db");
        for (var i = 0; i < 5; i++)
        {
            await _database.WriteAsync(connection => Add(connection, $"{i}"), Cancel);
            using var other = SqliteDatabase.Open(path);
            Assert.Equal(i + 1L, await other.ReadAsync(static c => (long)c.Command("SELECT count(*) FROM events").ExecuteScalar()!, Cancel));
        }
    }

    [Fact]
    public async Task A_text_that_is_used_twice_at_a_time_is_prepared_twice_and_values_do_not_stay()
    {
        await _database.WriteAsync(static connection => Add(connection, "a"), Cancel);
        var found = await _database.ReadAsync(static connection =>
        {
            const string text = "SELECT key, body FROM events WHERE $key IS NULL OR key = $key";
            using var outer = connection.Command(text, ("$key", "a"));
            using var inner = connection.Command(text, ("$key", "b"));
            using var reader = outer.ExecuteReader();
            return (inner.ReadRows().Count, reader.Read(), connection.Command(text, ("$key", null)).ReadRows().Count);
        }, Cancel);
        Assert.Equal((0, true, 1), found);
    }

    public void Dispose()
    {
        _database.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private static bool Add(Microsoft.Data.Sqlite.SqliteConnection connection, string key) =>
        connection.TryInsert(Insert, ("$node", "node"), ("$key", key), ("$body", new byte[8]));

    private Task<long> CountAsync() => _database.ReadAsync(static c =>
    {
        using var command = c.Command("SELECT count(*) FROM events");
        return (long)command.ExecuteScalar()!;
    }, Cancel);
}

using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;
using Microsoft.Data.Sqlite;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>
/// The one writer of a database. What came while it was at the disk is written in one transaction, and each is told of its own once all of it is on the disk: so many requests share
/// the wait for one flush, and none is answered before it. Where anything goes wrong in such a transaction it is taken back, and each change is made alone.
/// </summary>
/// <param name="connect">Opens a connection.</param>
internal sealed class SqliteWriter(Func<SqliteConnection> connect) : IDisposable
{
    private const int MostAtOnce = 256;

    private readonly Channel<IChange> _waiting = Channel.CreateUnbounded<IChange>(new UnboundedChannelOptions { SingleReader = true });
    private readonly Lock _gate = new();
    private SqliteConnection? _connection;
    private Task? _work;

    /// <exception cref="StorageUnavailableException">SQLite did not take it; nothing of it was written.</exception>
    public Task<T> WriteAsync<T>(Func<SqliteConnection, T> change, CancellationToken cancel)
    {
        var waiting = new Change<T>(change, cancel);
        ObjectDisposedException.ThrowIf(!_waiting.Writer.TryWrite(waiting), this);
        if (_work is null)
        {
            lock (_gate)
                _work ??= Task.Run(RunAsync, CancellationToken.None);
        }

        return waiting.Done;
    }

    public void Dispose()
    {
        _waiting.Writer.TryComplete();
        lock (_gate)
            _work?.Wait();
        _connection?.Dispose();
    }

    private async Task RunAsync()
    {
        var batch = new List<IChange>();
        while (await _waiting.Reader.WaitToReadAsync())
        {
            batch.Clear();
            while (batch.Count < MostAtOnce && _waiting.Reader.TryRead(out var change))
            {
                if (!change.IsCancelled())
                    batch.Add(change);
            }

            if (batch.Count == 0 || TryWrite(batch, out var failure))
                continue;
            if (batch is [var only])
            {
                only.Fail(failure);
                continue;
            }

            foreach (var change in batch)
            {
                if (!TryWrite([change], out failure))
                    change.Fail(failure);
            }
        }
    }

    private bool TryWrite(List<IChange> batch, [NotNullWhen(false)] out Exception? failure)
    {
        try
        {
            var connection = _connection ??= connect();
            connection.Execute("BEGIN IMMEDIATE");
            foreach (var change in batch)
                change.Make(connection);
            connection.Execute("COMMIT");
        }
#pragma warning disable CA1031 // Whatever it is, it is told to who waits for the change, and the next change is made.
        catch (Exception e)
#pragma warning restore CA1031
        {
            // With the connection goes what it had begun, whatever is wrong with it.
            _connection?.Dispose();
            _connection = null;
            failure = e;
            return false;
        }

        foreach (var change in batch)
            change.Succeed();
        failure = null;
        return true;
    }

    private interface IChange
    {
        bool IsCancelled();

        void Make(SqliteConnection connection);

        void Succeed();

        void Fail(Exception e);
    }

    private sealed class Change<T>(Func<SqliteConnection, T> change, CancellationToken cancel) : IChange
    {
        // Whoever waited goes on elsewhere: the writer is for writing.
        private readonly TaskCompletionSource<T> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private T _result = default!; // of Make

        public Task<T> Done => _done.Task;

        public bool IsCancelled() => cancel.IsCancellationRequested && _done.TrySetCanceled(cancel);

        public void Make(SqliteConnection connection) => _result = change(connection);

        public void Succeed() => _done.TrySetResult(_result);

        public void Fail(Exception e) => _done.TrySetException(e);
    }
}

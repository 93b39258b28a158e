using System.Diagnostics.CodeAnalysis;
using Microsoft.Data.Sqlite;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>A connection that keeps its commands: each text is prepared once, and lent again and again. One thread at a time uses it.</summary>
internal sealed class PreparedConnection(string connectionString) : SqliteConnection(connectionString)
{
    private const int Most = 256; // every text of this folder, and many more

    private readonly Dictionary<string, Prepared> _commands = [];

    /// <summary>A command of that text, without parameters. Disposing it gives it back.</summary>
    public SqliteCommand Borrow(string text)
    {
        if (_commands.TryGetValue(text, out var known) && known.TryLend())
            return known;
        var made = new Prepared(text, this);
        if (known is null && _commands.Count < Most)
            _commands.Add(text, made);
        else
            made.Leave();
        return made;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            foreach (var command in _commands.Values)
            {
                command.Leave();
                command.Dispose();
            }

            _commands.Clear();
        }

        base.Dispose(disposing);
    }

    [SuppressMessage("Security", "CA2100:Review SQL queries for security vulnerabilities", Justification = "Every text is a constant of this folder.")]
    private sealed class Prepared(string text, SqliteConnection connection) : SqliteCommand(text, connection)
    {
        private bool _kept = true;
        private bool _lent = true;

        public bool TryLend() => !_lent && (_lent = true);

        public void Leave() => _kept = false;

        protected override void Dispose(bool disposing)
        {
            if (_kept && disposing)
            {
                Parameters.Clear();
                _lent = false;
                return;
            }

            base.Dispose(disposing);
        }
    }
}

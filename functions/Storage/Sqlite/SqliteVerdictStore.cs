using System.Globalization;
using Keylime.Protocol;
using Microsoft.Data.Sqlite;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>The verdicts in SQLite. Nothing here changes a row.</summary>
internal sealed class SqliteVerdictStore(SqliteDatabase database, UnreadableRows unreadable) : IVerdictStore
{
    private readonly RowCodec<VerdictRecord> _rows =
        new(StorageJson.Default.VerdictRecord, v => v.Schema, VerdictRecord.CurrentSchema, unreadable);

    public Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel) => database.WriteAsync(
        connection => Insert(connection, verdict), cancel);

    /// <summary>In whatever transaction there is.</summary>
    internal bool Insert(SqliteConnection connection, VerdictRecord verdict) => connection.TryInsert(
        "INSERT INTO verdicts (node, attestation, body) VALUES ($node, $attestation, $body)",
        ("$node", verdict.Node.ToString()), ("$attestation", verdict.Message.Attestation), ("$body", _rows.Encode(verdict)));

    public Task<VerdictRecord?> FindAsync(AgentId node, long attestation, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            "SELECT CAST(attestation AS TEXT), body FROM verdicts WHERE node = $node AND attestation = $attestation",
            ("$node", node.ToString()), ("$attestation", attestation));
        return command.ReadRows() is [var row] ? _rows.Decode($"{node}/{row.Key}", row.Body) : null;
    }, cancel);

    public Task<Page<VerdictRecord>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        var before = long.TryParse(after?.Key, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : long.MaxValue;
        using var command = connection.Command("""
            SELECT CAST(attestation AS TEXT), body FROM verdicts
            WHERE node = $node AND attestation < $before ORDER BY attestation DESC LIMIT $limit
            """, ("$node", node.ToString()), ("$before", before), ("$limit", limit + 1));
        return _rows.ToPage(command.ReadRows(), limit);
    }, cancel);

    public Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(AgentId node, long attestation, int limit, CancellationToken cancel) =>
        database.ReadAsync<IReadOnlyList<VerdictRecord>>(connection =>
        {
            using var command = connection.Command("""
                SELECT CAST(attestation AS TEXT), body FROM verdicts
                WHERE node = $node AND attestation >= $from ORDER BY attestation LIMIT $limit
                """, ("$node", node.ToString()), ("$from", attestation), ("$limit", limit));
            return _rows.ToPage(command.ReadRows(), limit).Items;
        }, cancel);

    public Task<VerdictRows> ListUpToAsync(AgentId node, long attestation, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command("""
            SELECT CAST(attestation AS TEXT), body FROM verdicts
            WHERE node = $node AND attestation <= $to ORDER BY attestation DESC LIMIT $limit
            """, ("$node", node.ToString()), ("$to", attestation), ("$limit", limit));
        var rows = command.ReadRows();
        return VerdictRows.Of(_rows.ToPage(rows, null).Items, rows.Count, limit, rows is [.., var last] ? long.Parse(last.Key, CultureInfo.InvariantCulture) : 0);
    }, cancel);

    public Task DeleteAsync(AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel) => database.WriteAsync(
        connection => connection.Execute(
            "DELETE FROM verdicts WHERE node = $node AND attestation IN (SELECT value FROM json_each($numbers))",
            ("$node", node.ToString()), ("$numbers", $"[{string.Join(',', attestations)}]")),
        cancel);
}

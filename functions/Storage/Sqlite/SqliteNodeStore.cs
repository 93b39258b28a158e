using Keylime.Protocol;
using Keylime.Protocol.Api;
using Microsoft.Data.Sqlite;

namespace Keylime.Functions.Storage.Sqlite;

/// <summary>The nodes in SQLite: the row as JSON, and the columns that queries need.</summary>
internal sealed class SqliteNodeStore(SqliteDatabase database, UnreadableRows unreadable) : INodeStore
{
    private const int NoVerdict = 0;
    private const int Passed = 1;
    private const int Failed = 2;

    private readonly RowCodec<Node> _rows = new(StorageJson.Default.Node, n => n.Schema, Node.CurrentSchema, unreadable, Node.Upgrade);

    public Task<Stored<Node>?> FindAsync(AgentId id, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        using var command = connection.Command(
            "SELECT etag, body FROM nodes WHERE partition = $partition AND id = $id", ("$partition", Partitions.Of(id.ToString())), ("$id", id.ToString()));
        return command.ReadRows() is [var row] ? new Stored<Node>(_rows.Decode(id.ToString(), row.Body), row.Key) : null;
    }, cancel);

    public Task<Stored<Node>?> TryAddAsync(Node node, CancellationToken cancel) => database.WriteAsync(connection =>
    {
        var etag = SqliteCommands.NewETag();
        return Insert(connection, node, etag) ? new Stored<Node>(node, etag) : null;
    }, cancel);

    public Task<Stored<Node>?> TryReplaceAsync(Stored<Node> read, Node next, CancellationToken cancel) => database.WriteAsync(connection =>
    {
        var etag = SqliteCommands.NewETag();
        var changed = connection.Execute("""
            UPDATE nodes SET etag = $etag, verdict = $verdict, late_at = $late, silent_at = $silent, retired = $retired,
                open = $open, policy = $policy, boot_policy = $boot_policy, body = $body
            WHERE partition = $partition AND id = $id AND etag = $read
            """, [.. Columns(next, etag), ("$read", read.ETag)]);
        return changed == 1 ? new Stored<Node>(next, etag) : null;
    }, cancel);

    public Task<Page<Node>> ListAsync(NodeQuery query, Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        var (partition, id) = PlaceOf(after);
        using var command = connection.Command($"""
            SELECT partition || '|' || id, body FROM nodes
            WHERE (partition, id) > ($partition, $id) AND {StateFilter(query.State)} AND {OverdueFilter(query.OverdueSince)}
                AND ($policy IS NULL OR policy = $policy) AND ($boot_policy IS NULL OR boot_policy = $boot_policy) AND ($open IS NULL OR open = $open)
            ORDER BY partition, id LIMIT $limit
            """,
            ("$partition", partition), ("$id", id), ("$now", query.Now.UtcTicks), ("$certain", query.Certain.UtcTicks), ("$since", query.OverdueSince?.UtcTicks), ("$policy", query.RuntimePolicy), ("$boot_policy", query.BootPolicy),
            ("$open", query.HasOpen is { } open ? (open ? 1 : 0) : null), ("$limit", limit + 1));
        return RowCodec<Node>.Only(_rows.ToPage(command.ReadRows(), limit, static place => place[(place.IndexOf('|') + 1)..]), query.Matches);
    }, cancel);

    public Task<Page<NodeTimes>> ListTimesAsync(Continuation? after, int limit, CancellationToken cancel) => database.ReadAsync(connection =>
    {
        var (partition, id) = PlaceOf(after);
        using var command = connection.Command(
            "SELECT partition, id, retired, verdict, late_at, silent_at FROM nodes WHERE (partition, id) > ($partition, $id) ORDER BY partition, id LIMIT $limit",
            ("$partition", partition), ("$id", id), ("$limit", limit));
        using var reader = command.ExecuteReader();
        var (times, last) = (new List<NodeTimes>(), "");
        while (reader.Read())
        {
            times.Add(NodeTimes.Of(reader.GetInt64(2) != 0, reader.GetInt64(3), reader.GetInt64(4), reader.GetInt64(5)));
            last = $"{reader.GetString(0)}|{reader.GetString(1)}";
        }

        return new Page<NodeTimes>(times, times.Count == limit ? new Continuation(last) : null);
    }, cancel);

    private static (string Partition, string Id) PlaceOf(Continuation? after) =>
        after is { Key: var key } && key.IndexOf('|') is > 0 and var bar ? (key[..bar], key[(bar + 1)..]) : ("", "");

    private static string OverdueFilter(DateTimeOffset? since) => since is null
        ? "$since IS NULL"
        : "retired = 0 AND verdict = 1 AND (late_at > $since AND late_at <= $now OR silent_at > $since AND silent_at <= $now)";

    // The same rules as NodeStates, on columns; of what a gap may have put off, all.
    private static string StateFilter(NodeState? state) => state switch
    {
        null => "$now = $now AND $certain = $certain",
        NodeState.Retired => "retired = 1 AND $now = $now AND $certain = $certain",
        NodeState.Pending => "retired = 0 AND verdict = 0 AND $now = $now AND $certain = $certain",
        NodeState.Failed => "retired = 0 AND verdict = 2 AND $now = $now AND $certain = $certain",
        NodeState.Trusted => "retired = 0 AND verdict = 1 AND late_at > $certain AND $now = $now",
        NodeState.Late => "retired = 0 AND verdict = 1 AND late_at <= $now AND silent_at > $certain",
        NodeState.Silent => "retired = 0 AND verdict = 1 AND silent_at <= $now AND $certain = $certain",
        _ => throw new ArgumentOutOfRangeException(nameof(state), state, "No state."),
    };

    /// <summary>In whatever transaction there is.</summary>
    internal bool Insert(SqliteConnection connection, Node node, string etag) => connection.TryInsert("""
        INSERT INTO nodes (partition, id, etag, verdict, late_at, silent_at, retired, open, policy, boot_policy, body)
        VALUES ($partition, $id, $etag, $verdict, $late, $silent, $retired, $open, $policy, $boot_policy, $body)
        """, Columns(node, etag));

    private (string Name, object? Value)[] Columns(Node node, string etag) =>
    [
        ("$partition", Partitions.Of(node.Id.ToString())), ("$id", node.Id.ToString()), ("$etag", etag),
        ("$verdict", node switch { { Last: null } => NoVerdict, { IsFailed: true } => Failed, _ => Passed }),
        ("$late", node.LateAt?.UtcTicks ?? long.MaxValue), ("$silent", node.SilentAt?.UtcTicks ?? long.MaxValue),
        ("$retired", node.RetiredAt is null ? 0 : 1), ("$open", node.IsUnsettled ? 1 : 0),
        ("$policy", node.RuntimePolicy), ("$boot_policy", node.BootPolicy), ("$body", _rows.Encode(node)),
    ];
}

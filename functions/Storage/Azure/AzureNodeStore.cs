using Azure.Data.Tables;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Storage.Azure;

/// <summary>The nodes in tables: the row as JSON, and the properties that filters need, which the service evaluates.</summary>
internal sealed class AzureNodeStore(AzureAccounts accounts, UnreadableRows unreadable) : INodeStore
{
    private const int NoVerdict = 0;
    private const int Passed = 1;
    private const int Failed = 2;

    private readonly RowCodec<Node> _rows = new(StorageJson.Default.Node, n => n.Schema, Node.CurrentSchema, unreadable, Node.Upgrade);

    public async Task<Stored<Node>?> FindAsync(AgentId id, CancellationToken cancel)
    {
        var key = id.ToString();
        var row = await TableFor(key).FindAsync(Partitions.Of(key), key, cancel);
        return row is null ? null : new Stored<Node>(_rows.Decode(key, AzureTable.Body(row)), row.ETag.ToString());
    }

    public async Task<Stored<Node>?> TryAddAsync(Node node, CancellationToken cancel) =>
        await TableFor(node.Id.ToString()).TryAddAsync(Entity(node), cancel) is { } etag ? new Stored<Node>(node, etag) : null;

    public async Task<Stored<Node>?> TryReplaceAsync(Stored<Node> read, Node next, CancellationToken cancel) =>
        await TableFor(next.Id.ToString()).TryReplaceAsync(Entity(next), read.ETag, cancel) is { } etag ? new Stored<Node>(next, etag) : null;

    public async Task<Page<Node>> ListAsync(NodeQuery query, Continuation? after, int limit, CancellationToken cancel)
    {
        var (rows, next) = await AzureListing.PageAsync(accounts, AzureAccounts.Nodes, Filter(query), after, limit, cancel);
        return RowCodec<Node>.Only(_rows.ToPage(rows.ConvertAll(static row => (row.RowKey, AzureTable.Body(row))), next), query.Matches);
    }

    public async Task<Page<NodeTimes>> ListTimesAsync(Continuation? after, int limit, CancellationToken cancel)
    {
        var (rows, next) = await AzureListing.PageAsync(accounts, AzureAccounts.Nodes, null, after, limit, cancel, "Retired", "Verdict", "LateAt", "SilentAt");
        return new Page<NodeTimes>([.. rows.Select(static row => NodeTimes.Of(row.GetBoolean("Retired") == true, row.GetInt32("Verdict") ?? 0, row.GetInt64("LateAt") ?? 0, row.GetInt64("SilentAt") ?? 0))], next);
    }

    // The same rules as NodeStates, on properties; of what a gap may have put off, all.
    private static string? Filter(NodeQuery query)
    {
        var (now, certain) = (query.Now.UtcTicks, query.Certain.UtcTicks);
        var parts = new List<string>();
        if (query.State is { } state)
        {
            parts.Add(state switch
            {
                NodeState.Retired => TableClient.CreateQueryFilter($"Retired eq {true}"),
                NodeState.Pending => TableClient.CreateQueryFilter($"Retired eq {false} and Verdict eq {NoVerdict}"),
                NodeState.Failed => TableClient.CreateQueryFilter($"Retired eq {false} and Verdict eq {Failed}"),
                NodeState.Trusted => TableClient.CreateQueryFilter($"Retired eq {false} and Verdict eq {Passed} and LateAt gt {certain}"),
                NodeState.Late => TableClient.CreateQueryFilter($"Retired eq {false} and Verdict eq {Passed} and LateAt le {now} and SilentAt gt {certain}"),
                NodeState.Silent => TableClient.CreateQueryFilter($"Retired eq {false} and Verdict eq {Passed} and SilentAt le {now}"),
                _ => throw new ArgumentOutOfRangeException(nameof(query), state, "No state."),
            });
        }

        if (query.OverdueSince is { UtcTicks: var since })
        {
            parts.Add(TableClient.CreateQueryFilter(
                $"Retired eq {false} and Verdict eq {Passed} and ((LateAt gt {since} and LateAt le {now}) or (SilentAt gt {since} and SilentAt le {now}))"));
        }

        if (query.RuntimePolicy is { } policy)
            parts.Add(TableClient.CreateQueryFilter($"Policy eq {policy}"));
        if (query.BootPolicy is { } boot)
            parts.Add(TableClient.CreateQueryFilter($"BootPolicy eq {boot}"));
        if (query.HasOpen is { } open)
            parts.Add(TableClient.CreateQueryFilter($"Open eq {open}"));
        return parts.Count == 0 ? null : string.Join(" and ", parts);
    }

    private AzureTable TableFor(string id) => accounts.For(id).Table(AzureAccounts.Nodes);

    /// <summary>Its row.</summary>
    internal TableEntity Entity(Node node)
    {
        var key = node.Id.ToString();
        var entity = AzureTable.Entity(Partitions.Of(key), key, _rows.Encode(node));
        entity["Verdict"] = node switch { { Last: null } => NoVerdict, { IsFailed: true } => Failed, _ => Passed };
        entity["LateAt"] = node.LateAt?.UtcTicks ?? long.MaxValue;
        entity["SilentAt"] = node.SilentAt?.UtcTicks ?? long.MaxValue;
        entity["Retired"] = node.RetiredAt is not null;
        entity["Open"] = node.IsUnsettled;
        entity["Policy"] = node.RuntimePolicy ?? "";
        entity["BootPolicy"] = node.BootPolicy ?? "";
        return entity;
    }
}

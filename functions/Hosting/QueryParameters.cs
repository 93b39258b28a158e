using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Hosting;

/// <summary>The query parameters of our routes, for the OpenAPI document.</summary>
internal static class QueryParameters
{
    public const string State = "state";
    public const string Subject = "subject";
    public const string Type = "type";
    public const string Since = "since";
    public const string Until = "until";
    public const string After = "after";
    public const string Limit = "limit";
    public const string Digest = "digest";
    public const string Node = "node";
    public const string Group = "group";

    /// <summary>The same, where places have numbers.</summary>
    public const string AfterNumber = "after (number)";

    /// <summary>Of every list that has pages.</summary>
    public static IReadOnlyList<string> Pages { get; } = [After, Limit];

    /// <summary>What the document says of a parameter.</summary>
    public static JsonObject Describe(string name)
    {
        var (description, schema) = name switch
        {
            State => ("Only nodes of this state.", OneOf(Enum.GetNames<NodeState>().Select(static s => s.ToLowerInvariant()))),
            Subject => ("Only of this subject: a node's id, policy:NAME, webhook:NAME, payload:NAME, or service:", Text()),
            Type => ("Only of these types.", new JsonObject { ["type"] = "array", ["items"] = OneOf(EventTypes.All) }),
            Since => ("This moment and later.", new JsonObject { ["type"] = "string", ["format"] = "date-time" }),
            Until => ("Before this moment.", new JsonObject { ["type"] = "string", ["format"] = "date-time" }),
            After => ("Where the page begins: the 'next' of the page before.", Text()),
            AfterNumber => ("The number of the last notice that was dealt with; -1, or none, for none before now.", new JsonObject { ["type"] = "integer", ["minimum"] = -1 }),
            Limit => ("So many at most.", new JsonObject { ["type"] = "integer", ["minimum"] = 1, ["maximum"] = Paging.MaxLimit, ["default"] = Paging.DefaultLimit }),
            Digest => ("An earlier text, by its SHA-256 in hex.", Text()),
            Node => ("Only this node.", Text()),
            Group => ("The group of nodes that it is for; empty for all. What is left out stays as it is.", Text()),
            _ => throw new ArgumentOutOfRangeException(nameof(name), name, "No query parameter of that name."),
        };
        return new JsonObject { ["name"] = name == AfterNumber ? After : name, ["in"] = "query", ["description"] = description, ["schema"] = schema };
    }

    private static JsonObject Text() => new() { ["type"] = "string" };

    private static JsonObject OneOf(IEnumerable<string> values) => new() { ["type"] = "string", ["enum"] = new JsonArray([.. values.Select(static v => (JsonNode)v)]) };
}

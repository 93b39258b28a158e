using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization.Metadata;
using System.Text.RegularExpressions;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary><c>GET /openapi.json</c>: what this service answers, made from the routes themselves and from the types that they read and write.</summary>
internal static partial class OpenApi
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        byte[]? made = null; // the routes do not change
        routes.MapGet("/openapi.json", (EndpointDataSource source) =>
            TypedResults.Bytes(made ??= JsonSerializer.SerializeToUtf8Bytes(Make(source.Endpoints.OfType<RouteEndpoint>()), ApiJson.Default.JsonObject), MediaTypes.Json))
            .Under(new(Caller.Anyone, ApiFamily.Own), new("This document.") { RawAnswer = MediaTypes.Json });
    }

    public static JsonObject Make(IEnumerable<RouteEndpoint> routes)
    {
        var (paths, schemas) = (new JsonObject(), new JsonObject());
        foreach (var route in routes.OrderBy(static r => r.RoutePattern.RawText, StringComparer.Ordinal))
        {
            var (rules, doc) = (route.Metadata.GetMetadata<RouteRules>(), route.Metadata.GetMetadata<RouteDoc>());
            if (rules is null || doc is null || rules.Callers == Caller.HostTrigger)
                continue; // not for anybody outside
            var path = "/" + route.RoutePattern.RawText!.TrimStart('/');
            var operations = paths[path] as JsonObject ?? [];
            paths[path] = operations;
            foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
                operations[method.ToLowerInvariant()] = Operation(path, rules, doc, schemas);
        }

        return new JsonObject
        {
            ["openapi"] = "3.1.0",
            ["info"] = new JsonObject { ["title"] = "Keylime.Serverless", ["version"] = ServiceVersion.Text },
            ["paths"] = paths,
            ["components"] = new JsonObject
            {
                ["schemas"] = schemas,
                ["securitySchemes"] = new JsonObject { ["bearer"] = new JsonObject { ["type"] = "http", ["scheme"] = "bearer" } },
            },
        };
    }

    private static JsonObject Operation(string path, RouteRules rules, RouteDoc doc, JsonObject schemas)
    {
        var operation = new JsonObject
        {
            ["summary"] = doc.Summary,
            ["x-callers"] = new JsonArray([.. Enum.GetValues<Caller>().Where(c => System.Numerics.BitOperations.IsPow2((int)c) && rules.Callers.HasFlag(c)).Select(c => (JsonNode)c.ToString())]),
            ["x-roles-of-groups"] = rules.Scoped != Scoping.Refused,
            ["security"] = rules.Callers == Caller.Anyone ? new JsonArray() : new JsonArray(new JsonObject { ["bearer"] = new JsonArray() }),
            ["parameters"] = new JsonArray([.. Parameter().Matches(path).Select(static m => (JsonNode)PathParameter(m.Groups[1].Value)), .. doc.Query.Select(QueryParameters.Describe)]),
            ["responses"] = new JsonObject { ["default"] = new JsonObject { ["description"] = "Not done; the body says why.", ["content"] = Refusal(rules, schemas) } },
        };
        foreach (var status in (int?[])[doc.Status, doc.OrStatus])
        {
            if (status is not null)
                operation["responses"]![$"{status}"] = new JsonObject { ["description"] = "Done.", ["content"] = Answered(doc, rules, schemas) };
        }

        if (doc.Request is { } request)
            operation["requestBody"] = new JsonObject { ["required"] = true, ["content"] = Content(request, rules, schemas) };
        else if (doc.RawRequest.Count > 0)
            operation["requestBody"] = new JsonObject { ["required"] = true, ["content"] = new JsonObject(doc.RawRequest.Select(static media => KeyValuePair.Create(media, (JsonNode?)new JsonObject()))) };
        return operation;
    }

    private static JsonObject PathParameter(string name) => new()
    {
        ["name"] = name,
        ["in"] = "path",
        ["required"] = true,
        ["schema"] = new JsonObject { ["type"] = "string" },
    };

    private static JsonObject Answered(RouteDoc doc, RouteRules rules, JsonObject schemas) => (doc.Answer, doc.RawAnswer) switch
    {
        ({ } answer, _) => Content(answer, rules, schemas),
        (_, { } media) => new JsonObject { [media] = new JsonObject() },
        _ => [],
    };

    private static JsonObject Refusal(RouteRules rules, JsonObject schemas) => rules.Family switch
    {
        ApiFamily.Own => new JsonObject { [MediaTypes.Problem] = Reference(ApiJson.Default.Problem, schemas) },
        ApiFamily.Registrar => new JsonObject { [MediaTypes.Json] = Reference(UpstreamJson.Default.EnvelopeNoResults, schemas) },
        _ => new JsonObject { [MediaTypes.JsonApi] = Reference(UpstreamJson.Default.ErrorDocument, schemas) },
    };

    private static JsonObject Content(JsonTypeInfo type, RouteRules rules, JsonObject schemas) =>
        new() { [rules.Family is ApiFamily.Sessions or ApiFamily.Attestations && type.OriginatingResolver is UpstreamJson ? MediaTypes.JsonApi : MediaTypes.Json] = Reference(type, schemas) };

    private static JsonObject Reference(JsonTypeInfo type, JsonObject schemas)
    {
        var name = NameOf(type.Type);
        if (!schemas.ContainsKey(name))
            schemas[name] = Rebase(type.GetJsonSchemaAsNode(new JsonSchemaExporterOptions { TreatNullObliviousAsNonNullable = true }), $"#/components/schemas/{name}");
        return new JsonObject { ["schema"] = new JsonObject { ["$ref"] = $"#/components/schemas/{name}" } };
    }

    // References inside a schema are relative to it, and it stands deeper in this document.
    private static JsonNode Rebase(JsonNode node, string root)
    {
        switch (node)
        {
            case JsonObject members:
                if (members["$ref"] is JsonValue reference && reference.GetValue<string>() is ['#', .. var rest])
                    members["$ref"] = root + rest;
                foreach (var (_, value) in members.ToArray())
                {
                    if (value is not null)
                        Rebase(value, root);
                }

                break;
            case JsonArray items:
                foreach (var item in items.OfType<JsonNode>().ToArray())
                    Rebase(item, root);
                break;
            default:
                break;
        }

        return node;
    }

    private static string NameOf(Type type) => type.IsGenericType
        ? type.Name[..type.Name.IndexOf('`', StringComparison.Ordinal)] + string.Concat(type.GetGenericArguments().Select(NameOf))
        : type.Name;

    [GeneratedRegex(@"\{(\w+)\}")]
    private static partial Regex Parameter();
}

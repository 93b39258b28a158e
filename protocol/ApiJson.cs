using System.Text.Json;
using System.Text.Json.Serialization;
using Keylime.Protocol.Api;

namespace Keylime.Protocol;

/// <summary>Our own messages: strict, so that a misspelt member is an error and not a policy nobody applied.</summary>
[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Strict,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(EnrolNode))]
[JsonSerializable(typeof(NodeSummary))]
[JsonSerializable(typeof(NodeDetails))]
[JsonSerializable(typeof(NodeList))]
[JsonSerializable(typeof(VerdictMessage))]
[JsonSerializable(typeof(VerdictList))]
[JsonSerializable(typeof(EventList))]
[JsonSerializable(typeof(PolicySummary))]
[JsonSerializable(typeof(PolicyList))]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(Health))]
public sealed partial class ApiJson : JsonSerializerContext;

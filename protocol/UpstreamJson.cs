using System.Text.Json.Serialization;
using Keylime.Protocol.Upstream;

namespace Keylime.Protocol;

/// <summary>
/// Keylime's own messages. They tolerate members nobody knows, as upstream does, but no member twice:
/// two readers of one message must not see two things.
/// </summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    AllowDuplicateProperties = false,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(RegisterRequest))]
[JsonSerializable(typeof(ActivateRequest))]
[JsonSerializable(typeof(Envelope<NoResults>))]
[JsonSerializable(typeof(Envelope<VersionResults>))]
[JsonSerializable(typeof(Envelope<RegisterResults>))]
[JsonSerializable(typeof(Envelope<RegisteredAgentsResults>))]
[JsonSerializable(typeof(Envelope<RegisteredAgentResults>))]
[JsonSerializable(typeof(Document<SessionAttributes>))]
[JsonSerializable(typeof(Document<AttestationAttributes>))]
[JsonSerializable(typeof(ListDocument<AttestationAttributes>))]
[JsonSerializable(typeof(ErrorDocument))]
public sealed partial class UpstreamJson : JsonSerializerContext;

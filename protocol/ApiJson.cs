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
[JsonSerializable(typeof(PolicyVersionList))]
[JsonSerializable(typeof(ApprovePolicy))]
[JsonSerializable(typeof(PolicySigner))]
[JsonSerializable(typeof(PolicySignerList))]
[JsonSerializable(typeof(PolicyDraft))]
[JsonSerializable(typeof(PolicyTrialList))]
[JsonSerializable(typeof(UpdateNode))]
[JsonSerializable(typeof(Problem))]
[JsonSerializable(typeof(CreateToken))]
[JsonSerializable(typeof(CreatedToken))]
[JsonSerializable(typeof(TokenList))]
[JsonSerializable(typeof(TrustList))]
[JsonSerializable(typeof(NamedEnrolmentRule))]
[JsonSerializable(typeof(EnrolmentRuleList))]
[JsonSerializable(typeof(KnownKeyList))]
[JsonSerializable(typeof(ImportKnownKeys))]
[JsonSerializable(typeof(ImportedKnownKeys))]
[JsonSerializable(typeof(ApproveNode))]
[JsonSerializable(typeof(EnrolmentQuestion))]
[JsonSerializable(typeof(EnrolmentAnswer))]
[JsonSerializable(typeof(NamedWebhook))]
[JsonSerializable(typeof(WebhookList))]
[JsonSerializable(typeof(RotateWebhook))]
[JsonSerializable(typeof(WebhookTrial))]
[JsonSerializable(typeof(DeliveryList))]
[JsonSerializable(typeof(ReplayedEvents))]
[JsonSerializable(typeof(CloudEvent))]
[JsonSerializable(typeof(RevocationMessage))]
[JsonSerializable(typeof(PutPayload))]
[JsonSerializable(typeof(PayloadMessage))]
[JsonSerializable(typeof(PayloadList))]
[JsonSerializable(typeof(PayloadGrantList))]
[JsonSerializable(typeof(ReleaseList))]
[JsonSerializable(typeof(Payloads.SealedKey))]
[JsonSerializable(typeof(VaultKeyMessage))]
[JsonSerializable(typeof(NoticeList))]
[JsonSerializable(typeof(Health))]
[JsonSerializable(typeof(System.Text.Json.Nodes.JsonObject))]
public sealed partial class ApiJson : JsonSerializerContext;

using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Functions.Storage;

/// <summary>
/// Rows as JSON. Unlike our messages they tolerate members nobody knows, so that a row of a newer version reads;
/// a member that is missing and must not be is a row that cannot be read. So nulls are written, not left out.
/// </summary>
[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Web,
    IgnoreReadOnlyProperties = true,
    UseStringEnumConverter = true,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(Node))]
[JsonSerializable(typeof(Registration))]
[JsonSerializable(typeof(VerdictRecord))]
[JsonSerializable(typeof(EventRecord))]
[JsonSerializable(typeof(PolicyRecord))]
[JsonSerializable(typeof(PolicySignerRecord))]
[JsonSerializable(typeof(CompiledForm))]
[JsonSerializable(typeof(EndorsementOwner))]
[JsonSerializable(typeof(KnownEndorsementKey))]
[JsonSerializable(typeof(TrustedCertificate))]
[JsonSerializable(typeof(EnrolmentRule))]
[JsonSerializable(typeof(Webhook))]
[JsonSerializable(typeof(Delivery))]
[JsonSerializable(typeof(Payload))]
[JsonSerializable(typeof(PayloadShare))]
[JsonSerializable(typeof(PayloadClaim))]
[JsonSerializable(typeof(Release))]
[JsonSerializable(typeof(NoticeRecord))]
[JsonSerializable(typeof(NoticeClaim))]
[JsonSerializable(typeof(WrappedMasterKey))]
[JsonSerializable(typeof(AccessToken))]
[JsonSerializable(typeof(TimerState))]
internal sealed partial class StorageJson : JsonSerializerContext;

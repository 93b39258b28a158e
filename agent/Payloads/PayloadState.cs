using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Agent.Payloads;

/// <summary>A payload that is here, or was.</summary>
/// <param name="Release">The service's number for how it came.</param>
/// <param name="Inode">Of its file: one that stands there with another is not what was written.</param>
/// <param name="Gone">It was wiped, or somebody has taken it away.</param>
/// <param name="Told">The service knows how it stands.</param>
internal sealed record HeldPayload(string Name, long Version, string Release, ulong Inode, bool Gone, bool Told);

/// <summary>The file <c>.state</c> beside the payloads.</summary>
/// <param name="Next">The one whose file is about to be put in its place. Whether it was, the file's inode tells: so an end at any line leaves no doubt about what stands there.</param>
internal sealed record PayloadState(IReadOnlyList<HeldPayload> Payloads, HeldPayload? Next)
{
    public static byte[] Encode(PayloadState state) => JsonSerializer.SerializeToUtf8Bytes(state, PayloadStateJson.Default.PayloadState);

    /// <returns><see langword="null"/> where it cannot be read.</returns>
    public static PayloadState? TryParse(ReadOnlySpan<byte> content)
    {
        try
        {
            return JsonSerializer.Deserialize(content, PayloadStateJson.Default.PayloadState);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(PayloadState))]
internal sealed partial class PayloadStateJson : JsonSerializerContext;

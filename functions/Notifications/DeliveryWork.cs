using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Functions.Notifications;

/// <summary>
/// A message of the queue of deliveries: look at this channel. What waits there, and what may be sent, the rows of the outbox say; so a message that is lost or comes twice loses and
/// doubles nothing (decision 0009).
/// </summary>
/// <param name="Version">Another one is for another program.</param>
/// <param name="Channel">See <see cref="Storage.Webhook.Channel"/>.</param>
internal sealed record DeliveryWork(int Version, string Channel)
{
    public const int CurrentVersion = 1;
    private const int ChannelDigits = 32;

    /// <summary>Of one that was put to come later: when that is.</summary>
    public DateTimeOffset? Due { get; init; }

    public byte[] Write() => JsonSerializer.SerializeToUtf8Bytes(this, WorkJson.Default.DeliveryWork);

    /// <summary>Reads a message. What this program did not write is refused: it is another program's, or nobody's.</summary>
    public static bool TryRead(ReadOnlySpan<byte> message, [NotNullWhen(true)] out DeliveryWork? work, [NotNullWhen(false)] out string? why)
    {
        (work, why) = (null, null);
        try
        {
            work = JsonSerializer.Deserialize(message, WorkJson.Default.DeliveryWork);
            why = work switch
            {
                null => "It is null, where an object is expected.",
                { Version: not CurrentVersion } => $"It is of version {work.Version}, where {CurrentVersion} is expected.",
                { Channel: { Length: not ChannelDigits } } => $"Its channel has {work.Channel.Length} characters, where {ChannelDigits} are expected.",
                _ when !work.Channel.All(char.IsAsciiHexDigitLower) => "Its channel is not in lower-case hex.",
                _ => null,
            };
        }
        catch (JsonException e)
        {
            why = $"It is not the JSON that is expected, at byte {e.BytePositionInLine ?? 0}.";
        }

        if (why is null && work is not null)
            return true;
        (work, why) = (null, why ?? "It is null, where an object is expected.");
        return false;
    }
}

/// <summary>Messages of queues: strict, for nobody but us writes them.</summary>
[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Web,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    NumberHandling = JsonNumberHandling.Strict,
    PropertyNameCaseInsensitive = false,
    AllowDuplicateProperties = false,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(DeliveryWork))]
internal sealed partial class WorkJson : JsonSerializerContext;

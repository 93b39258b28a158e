using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;

namespace Keylime.Functions.Hosting;

/// <summary>Messages of a queue, as the Functions host hands them out: in an envelope, <c>{"Data":{"item":…},"Metadata":{…}}</c>.</summary>
internal static class QueueTrigger
{
    private const int MostLayers = 2;

    /// <summary>The name of the trigger's binding in function.json.</summary>
    public const string Binding = "item";

    /// <summary>The route that the host's queue trigger calls. Its answer is JSON and never empty; what is no 2xx the host tries again, and poisons in the end.</summary>
    /// <param name="work">Gives why the message is not taken; <see langword="null"/> when it is done.</param>
    public static void MapQueueTrigger(this IEndpointRouteBuilder routes, string path, string words, Func<IServiceProvider, ReadOnlyMemory<byte>, CancellationToken, Task<string?>> work) =>
        routes.MapPost(path, async Task<IResult> (HttpContext context) =>
        {
            if (!(await RequestBody.ReadJsonTextAsync(context, context.RequestAborted)).TryGet(out var body, out var unread))
                return unread;
            if (!TryOpen(body, out var message, out var why))
                return Refuse(why);

            // What it begins others may wait for: it ends with the service, and not with this call.
            var stopping = context.RequestServices.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;
            return await work(context.RequestServices, message, stopping) is { } refused ? Refuse(refused) : TypedResults.Text("{}", MediaTypes.Json);
        }).Under(new(Caller.HostTrigger, ApiFamily.Own, RouteRules.QueueBody), new(words));

    /// <summary>
    /// Takes the message out of its envelope. With <c>dataType: binary</c> it is the queue's text in Base64; without, that text, encoded as JSON once more, which some hosts leave out. The text itself
    /// is Base64 too: the host is told not to decode it (host.json, messageEncoding), for what it cannot decode it would put where nobody looks.
    /// </summary>
    public static bool TryOpen(ReadOnlyMemory<byte> envelope, out ReadOnlyMemory<byte> message, [NotNullWhen(false)] out string? why)
    {
        message = default;
        try
        {
            using var document = JsonDocument.Parse(envelope);
            if (document.RootElement is not { ValueKind: JsonValueKind.Object } root
                || !root.TryGetProperty("Data", out var data) || data.ValueKind != JsonValueKind.Object
                || !data.TryGetProperty(Binding, out var item) || item.ValueKind != JsonValueKind.String)
            {
                why = $"The envelope has no text at Data.{Binding}.";
                return false;
            }

            message = Decode(item.GetString()!);
            why = null;
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException) // the latter: a text that is no UTF-16
        {
            why = "The envelope is not the JSON that is expected.";
            return false;
        }
    }

    private static ReadOnlyMemory<byte> Decode(string text)
    {
        if (text.StartsWith('"') && Inner(text) is { } inner)
            text = inner;
        var message = Encoding.UTF8.GetBytes(text);
        for (var layers = 0; layers < MostLayers && message.Length > 0; layers++)
        {
            var bytes = new byte[message.Length];
            if (Base64.DecodeFromUtf8(message, bytes, out var read, out var length) != System.Buffers.OperationStatus.Done || read < message.Length)
                break;
            message = bytes[..length];
        }

        return message;
    }

    private static string? Inner(string text)
    {
        try
        {
            using var document = JsonDocument.Parse(text);
            return document.RootElement.GetString();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    private static Refusal Refuse(string why) => new(StatusCodes.Status400BadRequest, "invalid_message", why);
}

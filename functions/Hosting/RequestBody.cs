using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Keylime.Functions.Hosting;

/// <summary>Reads a request's body: whole, bounded by the route's rules, and by exactly the context that the message belongs to.</summary>
internal static class RequestBody
{
    /// <summary>Reads a JSON message of any JSON media type.</summary>
    public static Task<Reading<T>> ReadJsonAsync<T>(HttpContext context, JsonTypeInfo<T> type, CancellationToken cancel) =>
        ReadAsync(context, type, MediaTypes.IsJson(context.Request.ContentType), MediaTypes.Json, cancel);

    /// <summary>Reads a JSON:API message.</summary>
    public static Task<Reading<T>> ReadJsonApiAsync<T>(HttpContext context, JsonTypeInfo<T> type, CancellationToken cancel) =>
        ReadAsync(context, type, MediaTypes.IsJsonApi(context.Request.ContentType), MediaTypes.JsonApi, cancel);

    /// <summary>Reads JSON text, to be kept as it is.</summary>
    public static async Task<Reading<ReadOnlyMemory<byte>>> ReadJsonTextAsync(HttpContext context, CancellationToken cancel) =>
        MediaTypes.IsJson(context.Request.ContentType) ? await ReadBytesAsync(context, cancel) : WrongType(MediaTypes.Json);

    private static async Task<Reading<T>> ReadAsync<T>(
        HttpContext context, JsonTypeInfo<T> type, bool typeFits, string expected, CancellationToken cancel)
    {
        if (!typeFits)
            return WrongType(expected);
        if (!(await ReadBytesAsync(context, cancel)).TryGet(out var bytes, out var refusal))
            return refusal;

        try
        {
            return JsonSerializer.Deserialize(bytes.Span, type) is { } message
                ? message
                : new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "The body is null where a JSON object is expected.");
        }
        catch (JsonException e)
        {
            var path = e.Path is { Length: <= 200 } known ? known : "$";
            return new Refusal(StatusCodes.Status400BadRequest, "invalid_request",
                $"The body is not the JSON that is expected, at {path}, line {e.LineNumber ?? 0}, byte {e.BytePositionInLine ?? 0}.");
        }
    }

    /// <summary>Reads bytes of any media type.</summary>
    public static async Task<Reading<ReadOnlyMemory<byte>>> ReadBytesAsync(HttpContext context, CancellationToken cancel)
    {
        var most = context.GetEndpoint()?.Metadata.GetMetadata<RouteRules>()?.MaxBody ?? RouteRules.NoBody;
        if (context.Request.ContentLength > most)
            return TooLarge(most); // the server reads the rest and throws it away, so that the answer arrives

        try
        {
            // Straight from the server's own buffers: a chunk of ours between would be thrown away with each request.
            using var buffer = new MemoryStream(checked((int)(context.Request.ContentLength ?? 0)));
            var reader = context.Request.BodyReader;
            bool isWhole;
            do
            {
                var read = await reader.ReadAsync(cancel);
                var fits = buffer.Length + read.Buffer.Length <= most;
                if (fits)
                {
                    foreach (var segment in read.Buffer)
                        buffer.Write(segment.Span);
                }

                isWhole = read.IsCompleted;
                reader.AdvanceTo(read.Buffer.End);
                if (!fits)
                    return TooLarge(most);
            }
            while (!isWhole);

            return new ReadOnlyMemory<byte>(buffer.GetBuffer(), 0, checked((int)buffer.Length));
        }
        catch (BadHttpRequestException e)
        {
            return e.StatusCode == StatusCodes.Status413PayloadTooLarge
                ? TooLarge(most)
                : new Refusal(e.StatusCode, "invalid_request", "The body could not be read to its end.");
        }
    }

    private static Refusal WrongType(string expected) =>
        new(StatusCodes.Status415UnsupportedMediaType, "unsupported_media_type", $"Content-Type {expected} is expected.");

    private static Refusal TooLarge(long most) =>
        new(StatusCodes.Status413PayloadTooLarge, "body_too_large", $"The body is longer than the {most} bytes that are taken here.");
}

/// <summary>A message that was read, or the refusal that says why not.</summary>
internal readonly struct Reading<T>
{
    private readonly T? _value;
    private readonly Refusal? _refusal;

    private Reading(T? value, Refusal? refusal) => (_value, _refusal) = (value, refusal);

    public bool TryGet([MaybeNullWhen(false)] out T value, [NotNullWhen(false)] out Refusal? refusal)
    {
        (value, refusal) = (_value, _refusal);
        return refusal is null;
    }

    public static implicit operator Reading<T>(T value) => new(value, null);

    public static implicit operator Reading<T>(Refusal refusal) => new(default, refusal);
}

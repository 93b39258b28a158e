using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Hosting;

/// <summary>Makes answers whose JSON is exactly that of one generated context.</summary>
internal static class Answer
{
    public static Answer<T> Json<T>(int status, T body, JsonTypeInfo<T> type, string mediaType = MediaTypes.Json) =>
        new(status, body, type, mediaType);

    /// <summary>Keylime v2's answer with nothing in it.</summary>
    public static Answer<Envelope<NoResults>> Envelope(int status, string text) =>
        Json(status, new Envelope<NoResults>(status, text, new NoResults()), UpstreamJson.Default.EnvelopeNoResults);
}

/// <summary>A JSON answer.</summary>
internal sealed class Answer<T>(int status, T body, JsonTypeInfo<T> type, string mediaType) : IResult
{
    public async Task ExecuteAsync(HttpContext httpContext)
    {
        var bytes = JsonSerializer.SerializeToUtf8Bytes(body, type);
        httpContext.Response.StatusCode = status;
        httpContext.Response.ContentType = mediaType;
        httpContext.Response.ContentLength = bytes.Length;
        httpContext.Response.Headers.CacheControl = "no-store"; // tokens, challenges and verdicts: nothing here is for a cache
        await httpContext.Response.Body.WriteAsync(bytes, httpContext.RequestAborted);
    }
}

using Microsoft.Net.Http.Headers;

namespace Keylime.Functions.Hosting;

/// <summary>The media types that we read and write.</summary>
internal static class MediaTypes
{
    public const string Json = "application/json";
    public const string JsonApi = "application/vnd.api+json";
    public const string CloudEvents = "application/cloudevents+json";
    public const string OctetStream = "application/octet-stream";
    public const string PlainText = "text/plain";
    public const string Problem = "application/problem+json";

    /// <summary>JSON of any kind: <c>application/json</c> or <c>application/…+json</c>.</summary>
    public static bool IsJson(string? contentType) =>
        MediaTypeHeaderValue.TryParse(contentType, out var type)
        && type.Type.Equals("application", StringComparison.OrdinalIgnoreCase)
        && (type.SubType.Equals("json", StringComparison.OrdinalIgnoreCase) || type.Suffix.Equals("json", StringComparison.OrdinalIgnoreCase));

    public static bool IsJsonApi(string? contentType) =>
        MediaTypeHeaderValue.TryParse(contentType, out var type) && type.MediaType.Equals(JsonApi, StringComparison.OrdinalIgnoreCase);
}

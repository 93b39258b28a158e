using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;

namespace Keylime.Testing;

/// <summary>Requests written out as JSON, so that what is tested is the wire and not our own types.</summary>
public static class Wire
{
    public const string Json = "application/json";
    public const string JsonApi = "application/vnd.api+json";

    /// <param name="body">A JSON node, bytes, text, or content that has more headers.</param>
    public static async Task<Reply> SendAsync(HttpClient client, string method, string path, object? body, string contentType, string? token, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (body is not null)
        {
            request.Content = body as HttpContent ?? new ByteArrayContent(body as byte[] ?? Encoding.UTF8.GetBytes(body is JsonNode node ? node.ToJsonString() : (string)body));
            if (contentType.Length > 0)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        }

        if (token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        using var response = await client.SendAsync(request, cancel);
        return new Reply(
            response.StatusCode, await response.Content.ReadAsStringAsync(cancel), response.Content.Headers.ContentType?.MediaType,
            response.Headers.Location?.OriginalString, response.Headers.RetryAfter?.Delta);
    }
}

/// <summary>An answer.</summary>
public sealed record Reply(HttpStatusCode Status, string Text, string? ContentType, string? Location, TimeSpan? RetryAfter)
{
    public JsonNode Json => JsonNode.Parse(Text) ?? throw new InvalidOperationException("The body is null.");

    /// <summary>The body, if the status is the one expected.</summary>
    /// <exception cref="InvalidOperationException">It is another one.</exception>
    public JsonNode Expect(HttpStatusCode status) =>
        Status == status ? Json : throw new InvalidOperationException($"{status} was expected; got {Status}: {Text}");
}

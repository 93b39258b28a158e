using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;

namespace Keylime.Functions.Tests;

/// <summary>Requests written out as JSON, so that what is tested is the wire and not our own types.</summary>
internal static class Http
{
    public const string JsonApi = "application/vnd.api+json";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static async Task<Reply> SendAsync(
        this HttpClient client, string method, string path, object? body = null, string contentType = "application/json", string? token = null)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        if (body is not null)
        {
            request.Content = new ByteArrayContent(body as byte[] ?? Encoding.UTF8.GetBytes(body is JsonNode node ? node.ToJsonString() : (string)body));
            if (contentType.Length > 0)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", contentType);
        }

        if (token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        using var response = await client.SendAsync(request, Cancel);
        return new Reply(
            response.StatusCode, await response.Content.ReadAsStringAsync(Cancel), response.Content.Headers.ContentType?.MediaType,
            response.Headers.Location?.OriginalString, response.Headers.RetryAfter?.Delta);
    }
}

internal sealed record Reply(HttpStatusCode Status, string Text, string? ContentType, string? Location, TimeSpan? RetryAfter)
{
    public JsonNode Json => JsonNode.Parse(Text) ?? throw new InvalidOperationException("The body is null.");

    /// <summary>The body, if the status is the one expected.</summary>
    public JsonNode Expect(HttpStatusCode status)
    {
        Assert.True(Status == status, $"{status} was expected; got {Status}: {Text}");
        return Json;
    }
}

using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Azure.Storage.Queues.Models;

namespace Keylime.FunctionsHost;

/// <summary>What an invocation came to.</summary>
/// <param name="Succeeded">The host took the answer for a success.</param>
/// <param name="Detail">Why not.</param>
internal sealed record Invocation(bool Succeeded, string Detail);

/// <summary>Timers and queue items, in the envelope that the host makes of them: chunked, with every text encoded as JSON once more.</summary>
internal sealed class Triggers : IDisposable
{
    private readonly HttpClient _client = new() { Timeout = TimeSpan.FromMinutes(6) };

    public Task<Invocation> TimerAsync(Uri handler, AppFunction function, DateTimeOffset now, CancellationToken cancel) => InvokeAsync(handler, function, new JsonObject
    {
        ["Schedule"] = new JsonObject { ["AdjustForDST"] = true },
        ["ScheduleStatus"] = null, // of intervals below a minute, and where nobody watches
        ["IsPastDue"] = false,
    }, [], now, cancel);

    /// <summary>With <c>dataType: binary</c> the bytes come as Base64; without, the text comes as JSON, and that as JSON once more. So do all texts of the metadata.</summary>
    public Task<Invocation> QueueAsync(Uri handler, AppFunction function, QueueMessage message, byte[] content, DateTimeOffset now, CancellationToken cancel) => InvokeAsync(
        handler, function, function.IsBinary ? Convert.ToBase64String(content) : JsonSerializer.Serialize(Encoding.UTF8.GetString(content)), new JsonObject
        {
            ["DequeueCount"] = message.DequeueCount.ToString(CultureInfo.InvariantCulture),
            ["Id"] = JsonSerializer.Serialize(message.MessageId),
            ["PopReceipt"] = JsonSerializer.Serialize(message.PopReceipt),
            ["InsertionTime"] = message.InsertedOn?.ToString("O", CultureInfo.InvariantCulture),
            ["ExpirationTime"] = message.ExpiresOn?.ToString("O", CultureInfo.InvariantCulture),
            ["NextVisibleTime"] = message.NextVisibleOn?.ToString("O", CultureInfo.InvariantCulture),
        }, now, cancel);

    public void Dispose() => _client.Dispose();

    private async Task<Invocation> InvokeAsync(Uri handler, AppFunction function, JsonNode data, JsonObject metadata, DateTimeOffset now, CancellationToken cancel)
    {
        metadata["sys"] = new JsonObject
        {
            ["MethodName"] = function.Name,
            ["UtcNow"] = now.ToString("O", CultureInfo.InvariantCulture),
            ["RandGuid"] = Guid.NewGuid().ToString(),
        };
        var body = new JsonObject { ["Data"] = new JsonObject { [function.Binding] = data }, ["Metadata"] = metadata };
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(handler, "/" + function.Name)) { Content = new StreamContent(new MemoryStream(Encoding.UTF8.GetBytes(body.ToJsonString()))) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json", "utf-8");
        request.Headers.TransferEncodingChunked = true;
        request.Headers.Add("X-Azure-Functions-HostVersion", FunctionsHostServer.Version);
        request.Headers.Add("X-Azure-Functions-InvocationId", Forwarding.NewInvocation());
        request.Headers.UserAgent.ParseAdd($"Azure-Functions-Host/{FunctionsHostServer.Version}");
        try
        {
            using var answer = await _client.SendAsync(request, cancel);
            return answer.IsSuccessStatusCode ? Judge(answer.Content.Headers.ContentType?.MediaType, await answer.Content.ReadAsStringAsync(cancel)) : new Invocation(false, $"{(int)answer.StatusCode}");
        }
        catch (HttpRequestException e)
        {
            return new Invocation(false, e.Message);
        }
    }

    // An empty answer, or JSON's null, is never completed by the host: it hangs until the function's time is up, and then the handler is killed.
    private static Invocation Judge(string? mediaType, string text)
    {
        if (mediaType is not ("application/json" or "text/json"))
            return new Invocation(false, $"The answer is of the type '{mediaType}', and JSON is expected.");
        if (string.IsNullOrWhiteSpace(text))
            return new Invocation(false, "The answer is empty: the host would never complete the invocation.");
        try
        {
            switch (JsonNode.Parse(text))
            {
                case JsonObject answer:
                    var logs = answer.FirstOrDefault(static m => m.Key.Equals("Logs", StringComparison.OrdinalIgnoreCase)).Value;
                    return logs is null or JsonArray ? new Invocation(true, "") : new Invocation(false, "Logs is no list.");
                case null:
                    return new Invocation(false, "The answer is null: the host would never complete the invocation.");
                default:
                    return new Invocation(false, "The answer is no JSON object.");
            }
        }
        catch (JsonException e)
        {
            return new Invocation(false, e.Message);
        }
    }
}

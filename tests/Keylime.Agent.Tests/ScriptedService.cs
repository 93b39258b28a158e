using System.Collections.Concurrent;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.Logging;

namespace Keylime.Agent.Tests;

/// <summary>A service over plain HTTP that answers what a test says, and remembers what it was sent.</summary>
internal sealed class ScriptedService : IAsyncDisposable
{
    private readonly WebApplication _app;

    private ScriptedService(WebApplication app) => _app = app;

    public Uri Url => new(_app.Urls.Single());

    public ConcurrentQueue<Received> Requests { get; } = new();

    public static async Task<ScriptedService> StartAsync(Func<Received, Scripted> answer)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        var service = new ScriptedService(app);
        app.Run(async context =>
        {
            using var body = new MemoryStream();
            await context.Request.Body.CopyToAsync(body);
            var received = new Received(
                context.Request.Method, context.Request.Path.Value!, body.ToArray(), context.Request.Headers.Authorization, context.Request.ContentLength);
            service.Requests.Enqueue(received);
            var scripted = answer(received);
            context.Response.StatusCode = scripted.Status;
            foreach (var (name, value) in scripted.Headers)
                context.Response.Headers[name] = value;
            if (scripted.Body.Length > 0)
                await context.Response.Body.WriteAsync(scripted.Body);
        });
        await app.StartAsync(TestContext.Current.CancellationToken);
        return service;
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();
}

internal sealed record Received(string Method, string Path, byte[] Body, string? Authorization, long? Length)
{
    public JsonNode Json => JsonNode.Parse(Body)!;
}

internal sealed record Scripted(int Status, byte[] Body, Dictionary<string, string> Headers)
{
    public static Scripted Json(int status, string json) => new(status, Encoding.UTF8.GetBytes(json), []);

    public Scripted With(string header, string value) => this with { Headers = new Dictionary<string, string>(Headers) { [header] = value } };

    /// <summary>A recorded answer, as it was: status, the headers that matter, and body.</summary>
    public static Scripted Recorded(int number)
    {
        var bytes = File.ReadAllBytes(Path.Combine(AppContext.BaseDirectory, "evidence", "upstream", $"{number:00}.resp"));
        var end = bytes.AsSpan().IndexOf("\r\n\r\n"u8);
        var head = Encoding.ASCII.GetString(bytes, 0, end).Split("\r\n");
        var headers = head.Skip(1).Select(line => line.Split(": ", 2)).Where(h => h[0] is "Content-Type" or "Location" or "Retry-After").ToDictionary(h => h[0], h => h[1]);
        return new Scripted(int.Parse(head[0].Split(' ')[1], System.Globalization.CultureInfo.InvariantCulture), bytes[(end + 4)..], headers);
    }
}

using System.Collections.Concurrent;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Keylime.Functions.Tests;

/// <summary>A server on the loopback that remembers what it is asked, and answers as a test says.</summary>
internal sealed class HookServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private HookServer(WebApplication app) => _app = app;

    public ConcurrentQueue<(Dictionary<string, string> Headers, string Body)> Requests { get; } = new();

    public string Url => _app.Urls.Single() + "/";

    public string Authority => new Uri(Url).Authority;

    /// <summary>One that answers every request alike.</summary>
    public static Task<HookServer> StartAsync(int status, string answer, int delayMilliseconds) => StartAsync(async context =>
    {
        await Task.Delay(delayMilliseconds, context.RequestAborted);
        context.Response.StatusCode = status;
        if (status == StatusCodes.Status302Found)
            context.Response.Headers.Location = "https://example.org/";
        await context.Response.WriteAsync(answer, context.RequestAborted);
    });

    /// <param name="answer">Called when the request stands in <see cref="Requests"/>; its body is read by then, and in the items as <c>body</c>.</param>
    public static async Task<HookServer> StartAsync(Func<HttpContext, Task> answer)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        var app = builder.Build();
        var server = new HookServer(app);
        app.Run(async context =>
        {
            using var reader = new StreamReader(context.Request.Body);
            var body = await reader.ReadToEndAsync();
            context.Items["body"] = body;
            server.Requests.Enqueue((context.Request.Headers.ToDictionary(h => h.Key.ToLowerInvariant(), h => h.Value.ToString()), body));
            try
            {
                await answer(context);
            }
            catch (OperationCanceledException)
            {
                // the caller did not wait
            }
        });
        await app.StartAsync(TestContext.Current.CancellationToken);
        return server;
    }

    public ValueTask DisposeAsync() => _app.DisposeAsync();
}

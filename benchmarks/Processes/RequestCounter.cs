using System.Collections.Concurrent;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Yarp.ReverseProxy.Forwarder;

namespace Keylime.Benchmarks.Processes;

/// <summary>Stands before an emulator of Azure Storage, and counts what is asked of it: the method and the table, or that it was a blob.</summary>
internal sealed class RequestCounter : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, long> _counts = new();
    private readonly HttpMessageInvoker _client = new(new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false, UseCookies = false, AutomaticDecompression = DecompressionMethods.None });
    private readonly WebApplication _app;

    private RequestCounter(WebApplication app) => _app = app;

    public static async Task<RequestCounter> StartAsync(Uri behind, CancellationToken cancel)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrel(static kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        builder.Services.AddHttpForwarder();
        var counter = new RequestCounter(builder.Build());
        var forwarder = counter._app.Services.GetRequiredService<IHttpForwarder>();
        counter._app.Run(async context =>
        {
            counter._counts.AddOrUpdate(KindOf(context.Request), 1, static (_, count) => count + 1);
            await forwarder.SendAsync(context, behind.GetLeftPart(UriPartial.Authority), counter._client);
        });
        await counter._app.StartAsync(cancel);
        return counter;
    }

    public Uri Url => new(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    public IReadOnlyDictionary<string, long> Counts => _counts.ToDictionary();

    /// <summary>What came since.</summary>
    public static Dictionary<string, long> Since(IReadOnlyDictionary<string, long> before, IReadOnlyDictionary<string, long> after) =>
        after.Select(a => (a.Key, Value: a.Value - before.GetValueOrDefault(a.Key))).Where(static a => a.Value > 0).ToDictionary(static a => a.Key, static a => a.Value);

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        _client.Dispose();
    }

    // /account/table(keys), /account/table() or /account/container/blob
    private static string KindOf(HttpRequest request)
    {
        var parts = request.Path.Value!.Split('/', StringSplitOptions.RemoveEmptyEntries);
        var what = parts.Length > 2 ? "blob" : parts.Length == 2 ? parts[1].Split('(')[0] : "account";
        var query = parts.Length == 2 && !parts[1].Contains('\'', StringComparison.Ordinal) && request.Method == "GET" ? " (a query)" : "";
        return $"{request.Method} {what}{query}";
    }
}

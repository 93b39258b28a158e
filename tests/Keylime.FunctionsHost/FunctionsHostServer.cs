using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Yarp.ReverseProxy.Forwarder;

namespace Keylime.FunctionsHost;

/// <summary>
/// What Azure Functions' host does for a custom handler, as far as a handler can tell: it starts the published program, sends it clients' requests by the routes of function.json in one of two modes,
/// calls timers, hands out messages of queues, checks keys, and kills without grace. Everything that is known of the real one comes from its source and documents; nothing of it is here.
/// </summary>
internal sealed class FunctionsHostServer : IAsyncDisposable
{
    public const string Version = "4.1040.0.0";
    private const long MaxBody = 100 * 1024 * 1024;

    private readonly WebApplication _public;
    private readonly Forwarding _forwarding = new();
    private readonly Triggers _triggers = new();
    private readonly List<QueueListener> _queues = [];

    private FunctionsHostServer(FunctionApp app, Handler handler, WebApplication front, HostMode mode) => (App, Handler, _public, Mode) = (app, handler, front, mode);

    public FunctionApp App { get; }

    public Handler Handler { get; }

    public HostMode Mode { get; }

    /// <summary>Of functions that want one: <c>x-functions-key</c>, or <c>code</c> in the query.</summary>
    public string Key { get; } = Convert.ToBase64String(RandomNumberGenerator.GetBytes(32));

    /// <summary>What messages of queues came to, in the order of their ends.</summary>
    public IEnumerable<QueueCall> QueueCalls => _queues.SelectMany(static q => q.Calls);

    /// <summary>Where clients come.</summary>
    public Uri Url => new(_public.Urls.Single().Replace("[::]", "localhost", StringComparison.Ordinal));

    /// <summary>That clients trust, as PEM.</summary>
    public string CertificatePem { get; private init; } = "";

    /// <param name="root">The published package.</param>
    /// <param name="settings">The app's settings: environment variables of the handler.</param>
    public static Task<FunctionsHostServer> StartAsync(string root, HostMode mode, IReadOnlyDictionary<string, string> settings, CancellationToken cancel) =>
        StartAsync(FunctionApp.Load(root), mode, settings, 0, TestCertificates.ServerOf("localhost"), cancel);

    /// <param name="port">0 for a free one.</param>
    public static async Task<FunctionsHostServer> StartAsync(FunctionApp app, HostMode mode, IReadOnlyDictionary<string, string> settings, int port, X509Certificate2 certificate, CancellationToken cancel)
    {
        if (!app.Switch(mode == HostMode.Proxying ? "enableProxyingHttpRequest" : "enableForwardingHttpRequest"))
            throw new InvalidDataException($"host.json does not switch on what {mode} needs.");
        var queues = app.Functions.Where(static f => f.Kind == "queueTrigger").Select(f => (Function: f, Connection: QueueListener.ConnectionOf(f, settings))).ToArray();
        var handler = new Handler(app, settings);
        await handler.StartAsync(cancel);

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.Services.AddHttpForwarder();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Limits.MaxRequestBodySize = MaxBody;
            kestrel.Listen(IPAddress.Loopback, port, endpoint =>
            {
                endpoint.Protocols = HttpProtocols.Http1;
                endpoint.UseHttps(certificate);
            });
        });
        var front = builder.Build();
        var server = new FunctionsHostServer(app, handler, front, mode) { CertificatePem = certificate.ExportCertificatePem() };
        foreach (var function in app.Functions.Where(static f => f.Kind == "httpTrigger"))
            front.MapMethods(app.RoutePrefix + "/" + (function.Route ?? function.Name), function.Methods, context => server.AnswerAsync(context, function));
        await front.StartAsync(cancel);
        server._queues.AddRange(queues.Select(q => QueueListener.Start(q.Function, q.Connection, app.Queues, server._triggers, handler)));
        return server;
    }

    /// <summary>Lets whoever comes call a timer function, as Core Tools do on a developer's machine: 202, and it runs.</summary>
    public void OpenAdministration() => _public.MapPost("/admin/functions/{name}", (string name) =>
    {
        if (App.Functions.All(f => f.Name != name || f.Kind != "timerTrigger"))
            return Results.NotFound();
        _ = TickAsync(name, CancellationToken.None); // what comes of it nobody is told
        return Results.Accepted();
    });

    /// <summary>Calls a timer function, now.</summary>
    public Task<Invocation> TickAsync(string name, CancellationToken cancel) =>
        _triggers.TimerAsync(Handler.Url, App.Functions.Single(f => f.Name == name && f.Kind == "timerTrigger"), TimeProvider.System.GetUtcNow(), cancel);

    /// <summary>Calls all timer functions, each as often as a pause of this length allows, until it is cancelled.</summary>
    public async Task TickAllAsync(TimeSpan pause, CancellationToken cancel)
    {
        while (!cancel.IsCancellationRequested)
        {
            foreach (var timer in App.Functions.Where(static f => f.Kind == "timerTrigger"))
                await _triggers.TimerAsync(Handler.Url, timer, TimeProvider.System.GetUtcNow(), cancel);
            await Task.Delay(pause, cancel);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var queue in _queues)
            await queue.DisposeAsync();
        await _public.DisposeAsync();
        await Handler.DisposeAsync();
        _forwarding.Dispose();
        _triggers.Dispose();
    }

    private async Task AnswerAsync(HttpContext context, AppFunction function)
    {
        if (function.AuthLevel != "anonymous" && !IsKey(context.Request.Headers["x-functions-key"].ToString()) && !IsKey(context.Request.Query["code"].ToString()))
        {
            context.Response.StatusCode = StatusCodes.Status401Unauthorized;
            return;
        }

        var invocation = Forwarding.NewInvocation();
        try
        {
            if (Mode == HostMode.Proxying)
                await _forwarding.ProxyAsync(context, context.RequestServices.GetRequiredService<IHttpForwarder>(), Handler.Url, invocation);
            else
                await _forwarding.ForwardAsync(context, Handler.Url, invocation);
        }
        catch (HttpRequestException) when (!context.Response.HasStarted)
        {
            context.Response.StatusCode = StatusCodes.Status500InternalServerError; // the handler has gone
        }
    }

    private bool IsKey(string given) => CryptographicOperations.FixedTimeEquals(System.Text.Encoding.UTF8.GetBytes(given), System.Text.Encoding.UTF8.GetBytes(Key));
}

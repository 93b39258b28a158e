using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Extensions;
using Yarp.ReverseProxy.Forwarder;

namespace Keylime.FunctionsHost;

/// <summary>How a client's request reaches the handler.</summary>
internal enum HostMode
{
    /// <summary><c>enableForwardingHttpRequest</c>: through a client of the host's, with what that loses.</summary>
    Forwarding,

    /// <summary><c>enableProxyingHttpRequest</c>: through YARP.</summary>
    Proxying,
}

/// <summary>The two ways, with their losses.</summary>
internal sealed class Forwarding : IDisposable
{
    private static readonly TimeSpan ActivityTimeout = TimeSpan.FromSeconds(240);

    private readonly HttpClient _client = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false }) { Timeout = TimeSpan.FromMinutes(6) };
    private readonly HttpMessageInvoker _proxy = new(new SocketsHttpHandler { AllowAutoRedirect = false, UseCookies = false, UseProxy = false, AutomaticDecompression = DecompressionMethods.None });

    /// <param name="invocation">The host's number for this call.</param>
    public async Task ForwardAsync(HttpContext context, Uri handler, string invocation)
    {
        if (context.Request.Headers.TransferEncoding.Count > 0 && context.Request.ContentLength is null)
        {
            context.Response.StatusCode = StatusCodes.Status500InternalServerError; // the header is copied, the content is not
            return;
        }

        // The path goes through the display URL: it is decoded once more than it was encoded.
        var shown = new Uri(context.Request.GetDisplayUrl());
        using var request = new HttpRequestMessage(new HttpMethod(context.Request.Method), new Uri(handler, shown.AbsolutePath + new QueryString(shown.Query).ToUriComponent()));
        if (context.Request.ContentLength > 0)
        {
            request.Content = new StreamContent(context.Request.Body);
            request.Content.Headers.ContentLength = context.Request.ContentLength;
            if (context.Request.ContentType is { } type)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
        }

        foreach (var (name, values) in context.Request.Headers)
            request.Headers.TryAddWithoutValidation(name, values.ToArray()); // those of the content are not taken
        request.Headers.Add("X-Azure-Functions-HostVersion", FunctionsHostServer.Version); // added: a client's own stays in front
        request.Headers.Add("X-Azure-Functions-InvocationId", invocation);
        request.Headers.UserAgent.ParseAdd($"Azure-Functions-Host/{FunctionsHostServer.Version}");

        using var answer = await _client.SendAsync(request, context.RequestAborted);
        var body = await answer.Content.ReadAsByteArrayAsync(context.RequestAborted);
        context.Response.StatusCode = (int)answer.StatusCode;
        foreach (var (name, values) in answer.Headers.Concat(answer.Content.Headers).Where(static h => !h.Key.Equals("Transfer-Encoding", StringComparison.OrdinalIgnoreCase)))
            context.Response.Headers[name] = values.ToArray();
        context.Response.Headers.Remove("Connection");
        if (body.Length > 0)
            await context.Response.Body.WriteAsync(body, context.RequestAborted);
    }

    public async Task ProxyAsync(HttpContext context, IHttpForwarder forwarder, Uri handler, string invocation)
    {
        context.Request.Headers["X-Azure-Functions-HostVersion"] = FunctionsHostServer.Version;
        context.Request.Headers["X-Azure-Functions-InvocationId"] = invocation;
        context.Request.Headers["x-ms-invocation-id"] = invocation;
        var error = await forwarder.SendAsync(context, handler.ToString(), _proxy, new ForwarderRequestConfig { ActivityTimeout = ActivityTimeout });
        if (error != ForwarderError.None && !context.Response.HasStarted)
            context.Response.StatusCode = error == ForwarderError.RequestTimedOut ? StatusCodes.Status504GatewayTimeout : StatusCodes.Status502BadGateway;
    }

    public void Dispose()
    {
        _client.Dispose();
        _proxy.Dispose();
    }

    /// <summary>A number, as the host writes it.</summary>
    public static string NewInvocation() => Guid.NewGuid().ToString("D", CultureInfo.InvariantCulture);
}

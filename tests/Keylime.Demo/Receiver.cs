using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Keylime.Testing;

namespace Keylime.Demo;

/// <summary>A receiver of webhooks on the loopback: it takes what is signed with its secret, and nothing else.</summary>
internal sealed class Receiver : IAsyncDisposable
{
    private readonly HttpListener _listener = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<Told> _told = new();
    private Task _running = Task.CompletedTask;

    private Receiver(int port)
    {
        Url = $"http://127.0.0.1:{port}/";
        _listener.Prefixes.Add(Url);
    }

    public string Url { get; }

    /// <summary>What webhooks are signed with; until it is set nothing is taken.</summary>
    public string? Secret { get; set; }

    /// <summary>Called with each event whose signature fits.</summary>
    public Action<Told> Verified { get; init; } = static _ => { };

    /// <summary>What came and was signed, each once.</summary>
    public IEnumerable<Told> All => _told;

    /// <summary>Every message that came and was signed, copies too: its id, and when.</summary>
    public ConcurrentQueue<(string Id, DateTimeOffset At)> Copies { get; } = new();

    /// <summary>How many messages came that were not signed with the secret.</summary>
    public int Refused { get; private set; }

    public static Receiver Start(Action<Told> verified)
    {
        // HttpListener takes no port 0: one that was free a moment ago will do.
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        var port = ((IPEndPoint)probe.LocalEndpoint).Port;
        probe.Stop();
        var receiver = new Receiver(port) { Verified = verified };
        receiver._listener.Start();
        receiver._running = receiver.RunAsync();
        return receiver;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Close();
        await _running;
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var context = await _listener.GetContextAsync();
                context.Response.StatusCode = await TakeAsync(context.Request) ? 204 : 401;
                context.Response.Close();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or IOException)
            {
                // whoever asked has gone, or the demonstration is over
            }
        }
    }

    private async Task<bool> TakeAsync(HttpListenerRequest request)
    {
        using var reader = new StreamReader(request.InputStream);
        var body = await reader.ReadToEndAsync(_stop.Token);
        var headers = request.Headers.AllKeys.OfType<string>().ToDictionary(static k => k.ToLowerInvariant(), k => request.Headers[k]!);
        try
        {
            if (Secret is not { } secret || !WebhookVerifier.Accepts(secret, headers, body, TimeProvider.System.GetUtcNow()))
            {
                Refused++;
                return false;
            }
        }
        catch (Exception e) when (e is KeyNotFoundException or FormatException)
        {
            Refused++;
            return false;
        }

        using var message = JsonDocument.Parse(body);
        var told = message.RootElement.GetProperty("data").GetProperty("event");
        var seen = new Told(headers["webhook-id"], told.GetProperty("type").GetString()!, told.GetProperty("subject").GetString()!, told.GetProperty("detail").GetString()!);
        Copies.Enqueue((seen.Id, TimeProvider.System.GetUtcNow()));
        if (_told.All(t => t.Id != seen.Id)) // it may come twice
        {
            _told.Enqueue(seen);
            Verified(seen);
        }

        return true;
    }
}

/// <summary>An event that a webhook told, with a signature that fits.</summary>
internal sealed record Told(string Id, string Type, string Subject, string Detail);

using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;

namespace Keylime.Functions.Hosting;

/// <summary>An answer from outside.</summary>
/// <param name="Body">Empty where nobody wanted it.</param>
internal sealed record OutboundAnswer(int Status, byte[] Body)
{
    /// <summary>When to come again, if it says so.</summary>
    public RetryConditionHeaderValue? RetryAfter { get; init; }
}

/// <summary>
/// Requests to places that somebody else named. They go to public addresses only, checked on the address that is connected to; they follow no
/// redirect, take no large answer, and wait for nobody.
/// </summary>
internal sealed class Outbound : IDisposable
{
    private readonly Func<string, CancellationToken, Task<IPAddress[]>> _resolve;
    private readonly HashSet<string> _allowed;
    private readonly HttpClient _http;

    public Outbound(ServiceOptions options)
        : this(options, Dns.GetHostAddressesAsync)
    {
    }

    /// <param name="resolve">The addresses of a name.</param>
    internal Outbound(ServiceOptions options, Func<string, CancellationToken, Task<IPAddress[]>> resolve)
    {
        _resolve = resolve;
        _allowed = new HashSet<string>(options.AllowedOutbound, StringComparer.OrdinalIgnoreCase);
        _http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            MaxResponseHeadersLength = 16,
            ConnectTimeout = TimeSpan.FromSeconds(5),
            PooledConnectionLifetime = TimeSpan.FromMinutes(1), // a name may point elsewhere by then
            ConnectCallback = ConnectAsync,
        });
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Whether a URL may be kept to be sent to later: HTTPS, or what the operator allowed, and no user's name in it.</summary>
    public static bool MayBeKept(Uri url, ServiceOptions options) =>
        url.IsAbsoluteUri && url.UserInfo.Length == 0
        && (url.Scheme == Uri.UriSchemeHttps || url.Scheme == Uri.UriSchemeHttp && options.AllowedOutbound.Contains($"{url.Host}:{url.Port}", StringComparer.OrdinalIgnoreCase));

    /// <summary>Sends a request.</summary>
    /// <param name="plain">Whether HTTP without TLS will do, as for certificates, which prove themselves.</param>
    /// <param name="maxBytes">Of the answer's body; 0 where it is of no interest, and not read, whatever it is.</param>
    /// <exception cref="OutboundException">It may not go there, or nothing good came back in time.</exception>
    public async Task<OutboundAnswer> SendAsync(HttpRequestMessage request, bool plain, int maxBytes, TimeSpan timeout, CancellationToken cancel)
    {
        var url = request.RequestUri ?? throw new ArgumentException("A URL is expected.", nameof(request));
        if (url.Scheme != Uri.UriSchemeHttps && !(url.Scheme == Uri.UriSchemeHttp && (plain || IsAllowed(url.Host, url.Port))))
            throw new OutboundException($"{url.Scheme} is refused: https is expected.");
        if (url.UserInfo.Length > 0)
            throw new OutboundException("A URL with a user's name in it is refused.");

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(timeout);
        try
        {
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
            if ((int)response.StatusCode is >= 300 and < 400)
                throw new OutboundException($"It answered {(int)response.StatusCode}: redirects are not followed.");
            var body = maxBytes == 0 ? [] : await ReadAsync(response, maxBytes, limit.Token);
            return new OutboundAnswer((int)response.StatusCode, body) { RetryAfter = response.Headers.RetryAfter };
        }
        catch (HttpRequestException e)
        {
            throw new OutboundException(e.InnerException is OutboundException own ? own.Message : $"It cannot be reached: {e.HttpRequestError}.", e);
        }
        catch (IOException e)
        {
            throw new OutboundException("Its answer broke off.", e);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new OutboundException($"It did not answer within {timeout.TotalSeconds:0} s.", e);
        }
    }

    /// <summary>True for what the public Internet routes; not for loopback, private, link-local, metadata or documentation addresses.</summary>
    public static bool IsPublic(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            address = address.MapToIPv4();
        var b = address.GetAddressBytes();
        if (address.AddressFamily == AddressFamily.InterNetwork)
            return IsPublicV4(b);

        if (address.AddressFamily != AddressFamily.InterNetworkV6 || (b[0] & 0xE0) != 0x20)
            return b.Length == 16 && b is [0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0, ..] && IsPublicV4(b.AsSpan(12)); // only 2000::/3 is routed, and NAT64
        return b switch
        {
            [0x20, 0x01, 0x0D, 0xB8, ..] or [0x3F, 0xFF, < 0x10, ..] => false, // documentation
            [0x20, 0x01, < 0x02, ..] => false,                         // protocols' own: Teredo, which carries an IPv4 address, benchmarking, ORCHID
            [0x20, 0x02, ..] => IsPublicV4(b.AsSpan(2, 4)),            // 6to4, which does too
            _ => true,
        };
    }

    private static bool IsPublicV4(ReadOnlySpan<byte> b) => (b[0], b[1], b[2], b[3]) switch
    {
        (0 or 10 or 127 or >= 224, _, _, _) => false,
        (100, >= 64 and < 128, _, _) => false,            // carriers' own
        (169, 254, _, _) => false,                        // link-local, and every cloud's metadata
        (172, >= 16 and < 32, _, _) => false,
        (192, 168, _, _) or (192, 0, 0 or 2, _) or (192, 88, 99, _) => false,
        (198, 18 or 19, _, _) or (198, 51, 100, _) or (203, 0, 113, _) => false,
        (168, 63, 129, 16) => false,                      // Azure's own services to a machine
        _ => true,
    };

    private bool IsAllowed(string host, int port) => _allowed.Contains($"{host.Trim('[', ']')}:{port}");

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var (host, port) = (context.DnsEndPoint.Host, context.DnsEndPoint.Port);
        var addresses = IPAddress.TryParse(host, out var literal) ? [literal] : await _resolve(host, cancel);

        // All of a name's addresses must be public: one that is not tells what the name is for.
        if (!IsAllowed(host, port) && (addresses.Length == 0 || !addresses.All(IsPublic)))
            throw new OutboundException($"'{host}' has an address that is not public.");

        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(addresses, port, cancel); // these, and not what another look-up would give
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private static async Task<byte[]> ReadAsync(HttpResponseMessage response, int maxBytes, CancellationToken cancel)
    {
        if (response.Content.Headers.ContentLength > maxBytes)
            throw new OutboundException($"Its answer is longer than {maxBytes} bytes.");
        await using var stream = await response.Content.ReadAsStreamAsync(cancel);
        var buffer = new byte[maxBytes + 1];
        var read = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancel);
        return read <= maxBytes ? buffer[..read] : throw new OutboundException($"Its answer is longer than {maxBytes} bytes.");
    }
}

/// <summary>A request that did not go out, or that nothing good came of.</summary>
internal sealed class OutboundException(string message, Exception? inner = null) : Exception(message, inner);

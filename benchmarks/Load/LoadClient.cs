using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Benchmarks.Load;

/// <summary>What the service answered.</summary>
/// <param name="RetryAfter">What its header says; zero where there is none.</param>
internal readonly record struct LoadAnswer(int Status, byte[] Body, TimeSpan RetryAfter, string? Location);

/// <summary>Requests of a whole fleet over some connections, which are kept or not; counts their bytes as they are on the wire.</summary>
internal sealed class LoadClient : IDisposable
{
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(2);

    private readonly HttpClient _http;
    private long _sent;
    private long _received;
    private long _requests;

    /// <param name="connections">At most so many at a time.</param>
    /// <param name="keep">False for a connection of its own for each request, with its handshake, as nodes make that come once in many minutes.</param>
    public LoadClient(Uri url, string caPath, int connections, bool keep)
    {
        (Url, CaPath) = (url, caPath);
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck, DisableCertificateDownloads = true };
        policy.CustomTrustStore.ImportFromPemFile(caPath);
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            MaxConnectionsPerServer = connections,
            PooledConnectionLifetime = keep ? System.Threading.Timeout.InfiniteTimeSpan : TimeSpan.Zero,
            ConnectCallback = ConnectAsync,
            SslOptions = new SslClientAuthenticationOptions { CertificateChainPolicy = policy },
        };
        _http = new HttpClient(handler) { BaseAddress = url, Timeout = Timeout };
    }

    public Uri Url { get; }

    public string CaPath { get; }

    public (long Sent, long Received, long Requests) Counted => (Interlocked.Read(ref _sent), Interlocked.Read(ref _received), Interlocked.Read(ref _requests));

    /// <exception cref="HttpRequestException">No answer came.</exception>
    public async Task<LoadAnswer> SendAsync(HttpMethod method, string path, HttpContent? content, string? token, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(method, path) { Content = content };
        if (token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        Interlocked.Increment(ref _requests);
        using var response = await _http.SendAsync(request, cancel);
        return new LoadAnswer(
            (int)response.StatusCode, await response.Content.ReadAsByteArrayAsync(cancel), response.Headers.RetryAfter?.Delta ?? TimeSpan.Zero, response.Headers.Location?.OriginalString);
    }

    /// <summary>JSON of that media type.</summary>
    public static ByteArrayContent Json(byte[] body, string mediaType = "application/vnd.api+json")
    {
        var content = new ByteArrayContent(body);
        content.Headers.ContentType = new MediaTypeHeaderValue(mediaType);
        return content;
    }

    public void Dispose() => _http.Dispose();

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancel)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(context.DnsEndPoint, cancel);
            return new CountingStream(socket, this);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private sealed class CountingStream(Socket socket, LoadClient client) : NetworkStream(socket, ownsSocket: true)
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = await base.ReadAsync(buffer, cancellationToken);
            Interlocked.Add(ref client._received, read);
            return read;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Interlocked.Add(ref client._sent, buffer.Length);
            return base.WriteAsync(buffer, cancellationToken);
        }
    }
}

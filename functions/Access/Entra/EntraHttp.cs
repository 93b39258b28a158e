using System.Net;
using Microsoft.IdentityModel.Protocols;

namespace Keylime.Functions.Access;

/// <summary>
/// Gets documents from Entra ID: over HTTPS, from the very host that the operator named, small ones, without redirects and without long waits.
/// </summary>
internal sealed class EntraHttp : IDocumentRetriever, IDisposable
{
    private const int MaxBytes = 512 * 1024;
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    private readonly Uri _authority;
    private readonly HttpClient _http;

    /// <param name="handler">For tests, whose issuer has a certificate of its own.</param>
    public EntraHttp(Uri authority, HttpMessageHandler? handler = null)
    {
        _authority = authority;
        _http = new HttpClient(handler ?? new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            UseCookies = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = Timeout,
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
        })
        { Timeout = Timeout, MaxResponseContentBufferSize = MaxBytes };
    }

    public void Dispose() => _http.Dispose();

    /// <exception cref="IOException">Nothing good came back in time.</exception>
    public async Task<string> GetDocumentAsync(string address, CancellationToken cancel)
    {
        if (!Uri.TryCreate(address, UriKind.Absolute, out var url) || url.Scheme != Uri.UriSchemeHttps || url.Authority != _authority.Authority)
            throw new IOException($"A document under {_authority} was expected, not '{address}'.");
        try
        {
            using var response = await _http.GetAsync(url, cancel);
            return response.StatusCode == HttpStatusCode.OK
                ? await response.Content.ReadAsStringAsync(cancel)
                : throw new IOException($"{url} answered {(int)response.StatusCode}.");
        }
        catch (HttpRequestException e)
        {
            throw new IOException($"{url} cannot be read: {e.HttpRequestError}.", e);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new IOException($"{url} did not answer within {Timeout.TotalSeconds:0} s.", e);
        }
    }
}

using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary>The service's API for operators. It trusts the one CA that it was given, or else those of the system, and follows no redirect.</summary>
internal sealed class ServiceApi : IDisposable
{
    private const int PageSize = 1000;

    private readonly HttpClient _http;
    private readonly Uri _url;
    private readonly TokenSource _token;

    public ServiceApi(Login login)
    {
        _url = login.Url;
        _token = new TokenSource(login);
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(10) };
        if (login.CaPem is { } pem)
            handler.SslOptions.CertificateChainPolicy = TrustOnly(pem);
        _http = new HttpClient(handler) { BaseAddress = login.Url, Timeout = TimeSpan.FromSeconds(100) };
    }

    /// <summary>When the service said that it is, with its last answer.</summary>
    public DateTimeOffset? LastDate { get; private set; }

    public Task<T> GetAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancel) => SendAsync(HttpMethod.Get, path, null, type, cancel);

    public async Task<T> SendAsync<T>(HttpMethod method, string path, HttpContent? content, JsonTypeInfo<T> type, CancellationToken cancel)
    {
        var bytes = await SendAsync(method, path, content, cancel);
        try
        {
            return JsonSerializer.Deserialize(bytes, type) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new CliException(Exits.Failed, $"{_url} answered with what this tool does not understand: {PlainText.From(e.Message)}",
                "is the service of another version than this tool?");
        }
    }

    /// <summary>Sends, and gives the body of an answer that says it worked.</summary>
    /// <exception cref="CliException">It did not; <see cref="CliException.Exit"/> says in which way.</exception>
    public async Task<byte[]> SendAsync(HttpMethod method, string path, HttpContent? content, CancellationToken cancel)
    {
        try
        {
            if (content is not null)
                await content.LoadIntoBufferAsync(cancel); // its length goes ahead: what is sent in chunks does not pass every host of functions
            using var request = new HttpRequestMessage(method, path) { Content = content };
            if (await _token.GetAsync(cancel) is { } token)
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            using var response = await _http.SendAsync(request, cancel);
            var body = await response.Content.ReadAsByteArrayAsync(cancel);
            LastDate = response.Headers.Date;
            return response.IsSuccessStatusCode ? body : throw Refused(response, body);
        }
        catch (HttpRequestException e) when (e.InnerException is System.Security.Authentication.AuthenticationException)
        {
            throw new CliException(Exits.Failed, $"the certificate of {_url} does not come from the CA that this tool was given",
                "log in again with the service's own ca.pem, and with a name that its certificate has");
        }
        catch (HttpRequestException e)
        {
            throw new CliException(Exits.Failed, $"{_url} cannot be reached: {PlainText.From(e.InnerException?.Message ?? e.Message)}", "is the service running, and is this its URL?");
        }
        catch (TaskCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new CliException(Exits.Failed, $"{_url} did not answer within {_http.Timeout.TotalSeconds:0} s", "try again, or look at the service's log");
        }
    }

    /// <summary>All nodes of all pages.</summary>
    public async Task<NodeList> NodesAsync(string? state, CancellationToken cancel)
    {
        var nodes = await AllAsync("/v1/nodes", Query("state", state), ApiJson.Default.NodeList, static p => p.Nodes, static p => p.Next, cancel);
        return new NodeList([.. nodes.OrderBy(n => n.Id.ToString(), StringComparer.Ordinal)]);
    }

    public async Task<PolicyList> PoliciesAsync(CancellationToken cancel) =>
        new(await AllAsync("/v1/policies", "", ApiJson.Default.PolicyList, static p => p.Policies, static p => p.Next, cancel));

    /// <summary>The items of all pages.</summary>
    public async Task<IReadOnlyList<TItem>> AllAsync<TPage, TItem>(
        string path, string query, JsonTypeInfo<TPage> type, Func<TPage, IReadOnlyList<TItem>> items, Func<TPage, string?> next, CancellationToken cancel)
    {
        var all = new List<TItem>();
        string? after = null;
        do
        {
            var page = await GetAsync($"{path}?limit={PageSize}{query}{Query("after", after)}", type, cancel);
            all.AddRange(items(page));
            after = next(page);
        }
        while (after is not null);
        return all;
    }

    public void Dispose()
    {
        _http.Dispose();
        _token.Dispose();
    }

    private static X509ChainPolicy TrustOnly(string pem)
    {
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPem(pem);
        }
        catch (CryptographicException)
        {
            // an empty collection, which is refused next
        }

        if (authorities.Count == 0)
            throw new CliException(Exits.Usage, "the CA file holds no certificate in PEM", "the service keeps it as ca.pem in its data directory");
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck, // our own authority publishes no list
            DisableCertificateDownloads = true,
        };
        policy.CustomTrustStore.AddRange(authorities);
        return policy;
    }

    private static string Query(string name, string? value) => value is null ? "" : $"&{name}={Uri.EscapeDataString(value)}";

    private CliException Refused(HttpResponseMessage response, byte[] body)
    {
        var problem = response.Content.Headers.ContentType?.MediaType == "application/problem+json" ? TryRead(body) : null;
        var exit = response.StatusCode switch
        {
            HttpStatusCode.NotFound => Exits.NotFound,
            HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden => Exits.Refused,
            HttpStatusCode.Conflict => Exits.Conflict,
            _ => Exits.Failed,
        };
        var message = problem is null
            ? $"{_url} answered {(int)response.StatusCode} {response.ReasonPhrase}"
            : PlainText.From(problem.Detail);
        var hint = PlainText.From(problem?.Hint) is { Length: > 0 } told ? told : exit switch
        {
            Exits.Refused => "what this tool was given does not open it: log in again, keylime login",
            Exits.NotFound => "keylime node list and keylime policy list tell what there is",
            Exits.Conflict => "look at it as it is now, and decide again",
            _ => "the service's log says more",
        };
        return new CliException(exit, message, hint);
    }

    private static Problem? TryRead(byte[] body)
    {
        try
        {
            return JsonSerializer.Deserialize(body, ApiJson.Default.Problem);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

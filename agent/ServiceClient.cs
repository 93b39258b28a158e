using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Keylime.Agent;

/// <summary>The service answered, and not with what was asked for.</summary>
internal sealed class ServiceRefusedException(string what, HttpStatusCode? status, TimeSpan? retryAfter, string detail)
    : Exception(status is { } code ? $"{what}: {(int)code} {detail}" : $"{what}: {detail}")
{
    public HttpStatusCode? Status { get; } = status;

    public TimeSpan? RetryAfter { get; } = retryAfter;

    /// <summary>The service's stable word for it, where it gave one.</summary>
    public string? ErrorCode { get; init; }

    public string Hint { get; init; } = "the service's log says more";
}

/// <summary>Requests to one origin, over TLS with one CA, with bounded answers. Nothing is sent anywhere else, whatever the service says.</summary>
internal sealed class ServiceClient : IDisposable
{
    /// <summary>The largest answer that is read, in bytes.</summary>
    public const int MaxAnswer = 1024 * 1024;

    private const string JsonApi = "application/vnd.api+json";
    private const int MaxDetail = 600;
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(15);

    // A first measurement list of many megabytes over a thin line takes its time.
    private static readonly TimeSpan RequestTimeout = TimeSpan.FromMinutes(5);

    private readonly HttpClient _http;
    private readonly Uri _origin;

    public ServiceClient(Uri origin, string caFile)
    {
        _origin = origin;
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false, // a redirect could send a token elsewhere
            UseCookies = false,
            ConnectTimeout = ConnectTimeout,
            PooledConnectionLifetime = TimeSpan.FromMinutes(10),
            MaxResponseHeadersLength = 16,
        };
        if (origin.Scheme == Uri.UriSchemeHttps)
            handler.SslOptions = Tls(caFile);
        _http = new HttpClient(handler) { BaseAddress = origin, Timeout = RequestTimeout, MaxResponseContentBufferSize = MaxAnswer };
    }

    public void Dispose() => _http.Dispose();

    /// <summary>An answer: its status, its text if it was not too long, where it points to.</summary>
    public sealed record Answer(HttpStatusCode Status, byte[]? Body, Uri? Location)
    {
        /// <summary>When the service says it is.</summary>
        public DateTimeOffset? Date { get; init; }
    }

    /// <summary>Sends a request, and gives an answer of the status wanted.</summary>
    /// <exception cref="ServiceRefusedException">Any other status.</exception>
    /// <exception cref="HttpRequestException">The service cannot be reached.</exception>
    public Task<Answer> SendAsync(
        HttpMethod method, string path, HttpContent? content, string? token, Func<HttpStatusCode, bool> wanted, CancellationToken cancel) =>
        ExchangeAsync(method, path, content, token, async (what, response, limit) =>
        {
            var body = await ReadBodyAsync(response, limit);
            return wanted(response.StatusCode)
                ? new Answer(response.StatusCode, body, response.Headers.Location) { Date = response.Headers.Date }
                : throw Refused(what, response, body);
        }, cancel);

    /// <summary>Fetches bytes whose number is known: not one more is read.</summary>
    /// <param name="target">Is filled.</param>
    /// <exception cref="ServiceRefusedException">Any status but 200, or another number of bytes.</exception>
    /// <exception cref="HttpRequestException">The service cannot be reached.</exception>
    public Task FetchAsync(string path, string? token, Memory<byte> target, CancellationToken cancel) =>
        ExchangeAsync(HttpMethod.Get, path, null, token, async (what, response, limit) =>
        {
            if (response.StatusCode != HttpStatusCode.OK)
                throw Refused(what, response, await ReadBodyAsync(response, limit));
            await using var stream = await response.Content.ReadAsStreamAsync(limit);
            var read = await stream.ReadAtLeastAsync(target, target.Length, throwOnEndOfStream: false, limit);
            if (read < target.Length || await stream.ReadAsync(new byte[1], limit) != 0)
                throw new ServiceRefusedException(what, null, null, $"{(read < target.Length ? read.ToString(CultureInfo.InvariantCulture) : "more")} bytes came, {target.Length} are expected");
            return read;
        }, cancel);

    private async Task<T> ExchangeAsync<T>(
        HttpMethod method, string path, HttpContent? content, string? token, Func<string, HttpResponseMessage, CancellationToken, Task<T>> read, CancellationToken cancel)
    {
        using var request = new HttpRequestMessage(method, OfOrigin(new Uri(_origin, path), path)) { Content = content };
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue(content?.Headers.ContentType?.MediaType ?? "application/json"));
        request.Headers.TryAddWithoutValidation("X-Request-ID", RandomNumberGenerator.GetHexString(8, lowercase: true));
        if (token is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);

        var what = string.Create(CultureInfo.InvariantCulture, $"{method} {path}");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel); // the client's own ends with the headers
        limit.CancelAfter(RequestTimeout);
        try
        {
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, limit.Token);
            return await read(what, response, limit.Token);
        }
        catch (HttpRequestException e) when (e.InnerException is { } inner)
        {
            throw new HttpRequestException($"{_origin}: {inner.Message}", e); // its own message says to look there
        }
        catch (IOException e)
        {
            throw new HttpRequestException($"{what}: the answer broke off: {e.Message}", e);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new HttpRequestException($"{what}: no answer within {RequestTimeout.TotalSeconds} s.", e);
        }
    }

    /// <summary>The path of a Location, which has to be of this origin.</summary>
    /// <exception cref="ServiceRefusedException">There is none, or it points elsewhere.</exception>
    public string PathOf(Uri? location, string basePath)
    {
        if (location is null)
            throw new ServiceRefusedException("Location", null, null, "the answer has none");

        var path = OfOrigin(new Uri(new Uri(_origin, basePath), location), "Location").PathAndQuery;
        OfOrigin(new Uri(_origin, path), "Location"); // two slashes in front, and the path is another host
        return path;
    }

    private Uri OfOrigin(Uri target, string what) =>
        target.Scheme == _origin.Scheme && target.Port == _origin.Port && target.Host.Equals(_origin.Host, StringComparison.OrdinalIgnoreCase)
            ? target
            : throw new ServiceRefusedException(what, null, null, "it points to another service, where no evidence goes");

    public static HttpContent Json<T>(T value, JsonTypeInfo<T> type, bool jsonApi)
    {
        var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(value, type));
        content.Headers.ContentType = new MediaTypeHeaderValue(jsonApi ? JsonApi : "application/json");
        return content;
    }

    /// <exception cref="ServiceRefusedException">The text is not of the type.</exception>
    public static T Read<T>(Answer answer, JsonTypeInfo<T> type, string what)
    {
        if (answer.Body is null)
            throw new ServiceRefusedException(what, null, null, $"the answer is longer than {MaxAnswer} bytes");
        try
        {
            return JsonSerializer.Deserialize(answer.Body, type) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new ServiceRefusedException(what, null, null, $"the answer cannot be read: {e.Message}");
        }
    }

    private static SslClientAuthenticationOptions Tls(string caFile)
    {
        var roots = new X509Certificate2Collection();
        try
        {
            roots.ImportFromPemFile(caFile);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new OptionsException($"The CA certificate '{caFile}' cannot be read: {e.Message}", "verifier_tls_ca_cert names the service's ca.pem");
        }

        if (roots.Count == 0)
            throw new OptionsException($"'{caFile}' holds no certificate.", "verifier_tls_ca_cert names the service's ca.pem");

        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck, // a private CA has no revocation list
            DisableCertificateDownloads = true,
        };
        policy.CustomTrustStore.AddRange(roots);
        return new SslClientAuthenticationOptions
        {
            CertificateChainPolicy = policy,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
        };
    }

    private static async Task<byte[]?> ReadBodyAsync(HttpResponseMessage response, CancellationToken cancel)
    {
        if (response.Content.Headers.ContentLength > MaxAnswer)
            return null;

        await using var stream = await response.Content.ReadAsStreamAsync(cancel);
        using var body = new MemoryStream();
        var buffer = new byte[16 * 1024];
        while (await stream.ReadAsync(buffer, cancel) is var read and > 0)
        {
            if (body.Length + read > MaxAnswer)
                return null;
            body.Write(buffer, 0, read);
        }

        return body.ToArray();
    }

    private static ServiceRefusedException Refused(string what, HttpResponseMessage response, byte[]? body)
    {
        var (detail, code) = body is null ? (null, null) : ReadRefusal(body);
        var text = detail ?? (body is null ? "" : System.Text.Encoding.UTF8.GetString(body));
        var plain = string.Concat(text.Take(MaxDetail).Select(static c => char.IsControl(c) ? ' ' : c)).Trim();
        return new ServiceRefusedException(what, response.StatusCode, RetryAfter(response), plain) { ErrorCode = code };
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage response) => response.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } when response.Headers.Date is { } now && date > now => date - now,
        _ => null,
    };

    // What a refusal says, in each of the shapes that the APIs have for it.
    private static (string? Detail, string? Code) ReadRefusal(byte[] body)
    {
        try
        {
            using var document = JsonDocument.Parse(body);
            var root = document.RootElement;
            if (root.ValueKind == JsonValueKind.Object && root.TryGetProperty("errors", out var errors) && errors.ValueKind == JsonValueKind.Array && errors.GetArrayLength() > 0)
                root = errors[0];
            return (Text(root, "detail") ?? Text(root, "status"), Text(root, "code"));
        }
        catch (JsonException)
        {
            return (null, null);
        }

        static string? Text(JsonElement element, string name) =>
            element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out var member) && member.ValueKind == JsonValueKind.String ? member.GetString() : null;
    }
}

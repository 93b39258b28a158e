using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Azure.Core;
using Azure.Core.Pipeline;
using Keylime.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Keylime.Functions.Tests;

/// <summary>
/// Key Vault as Microsoft's reference of its REST API describes it, for two keys: the challenge, bearer tokens, api-version, algorithms by name, base64url, versions that are disabled or deleted, throttling. What a
/// request does wrong is answered as the service answers it, and kept in <see cref="Violations"/>.
/// </summary>
internal sealed class VaultServer : IAsyncDisposable
{
    public const string Token = "a-token-of-entra";
    private const string Host = "team.vault.azure.net";
    private const string Wrap = "keylime-wrap";
    private const string Sign = "keylime-sign";

    private readonly WebApplication _app;
    private readonly Dictionary<string, List<(string Version, AsymmetricAlgorithm Key)>> _keys = new() { [Wrap] = [], [Sign] = [] };
    private int _made;

    private VaultServer(WebApplication app) => _app = app;

    public static Uri Url => new($"https://{Host}/");

    public ConcurrentQueue<string> Violations { get; } = new();

    /// <summary>Method, path and body of each request.</summary>
    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>What it says instead of anything else.</summary>
    public Func<HttpContext, Task<bool>> Instead { get; set; } = static _ => Task.FromResult(false);

    public string ChallengeResource { get; set; } = "https://vault.azure.net";

    /// <summary>Versions that are disabled, deleted and recoverable, or purged, by the answer that they give.</summary>
    public ConcurrentDictionary<string, (int Status, string Code, string? Inner)> Gone { get; } = new();

    /// <summary>Attributes of versions, beside when they were created.</summary>
    public ConcurrentDictionary<string, JsonObject> Attributes { get; } = new();

    /// <summary>Whether the newest version is refused where it is disabled, or told with that attribute.</summary>
    public bool RefusesDisabled { get; set; }

    /// <summary>Where a list goes on, if not here.</summary>
    public string? NextLink { get; set; }

    public static async Task<VaultServer> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, static endpoint => endpoint.UseHttps(TestCertificates.ServerOf(Host))));
        var app = builder.Build();
        var server = new VaultServer(app);
        server.Make(Wrap);
        server.Make(Sign);
        app.Run(server.AnswerAsync);
        await app.StartAsync(TestContext.Current.CancellationToken);
        return server;
    }

    /// <summary>A way to this server, by the vault's own name.</summary>
    public HttpPipelineTransport Transport()
    {
        var port = new Uri(_app.Urls.Single()).Port;
        var handler = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            ConnectCallback = async (_, cancel) =>
            {
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                await socket.ConnectAsync(IPAddress.Loopback, port, cancel);
                return new NetworkStream(socket, ownsSocket: true);
            },
            SslOptions = { RemoteCertificateValidationCallback = static (_, certificate, _, _) => certificate!.Subject.Contains(Host, StringComparison.Ordinal) },
        };
        return new HttpClientTransport(new HttpClient(handler));
    }

    public static TokenCredential Credential() => new OneToken();

    public string Newest(bool wrap) => _keys[wrap ? Wrap : Sign][^1].Version;

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        foreach (var (_, key) in _keys.Values.SelectMany(static k => k))
            key.Dispose();
    }

    private string Make(string name)
    {
        var version = $"{++_made:x32}";
        _keys[name].Add((version, name == Wrap ? RSA.Create(3072) : ECDsa.Create(ECCurve.NamedCurves.nistP256)));
        return version;
    }

    private async Task AnswerAsync(HttpContext context)
    {
        using var reader = new StreamReader(context.Request.Body);
        var text = await reader.ReadToEndAsync(context.RequestAborted);
        Requests.Enqueue($"{context.Request.Method} {context.Request.Path} {text}");
        if (await Instead(context))
            return;
        if (context.Request.Host.Host != Host)
            Violate($"the host is '{context.Request.Host}'");
        if (context.Request.Headers.Authorization.ToString() is var bearer && bearer != "Bearer " + Token)
        {
            if (bearer.Length > 0)
                Violate("a token that nobody issued");
            if (text.Length > 0)
                Violate("a body without a token"); // what is in it is for the vault, and who answers is not known yet
            context.Response.Headers.WWWAuthenticate = $"Bearer authorization=\"https://login.microsoftonline.com/72f988bf\", resource=\"{ChallengeResource}\"";
            await ErrorAsync(context, 401, "Unauthorized", null);
            return;
        }

        if (context.Request.Query["api-version"].ToString() is not ("7.4" or "7.5" or "7.6"))
        {
            Violate("no api-version that is known");
            await ErrorAsync(context, 400, "BadParameter", null);
            return;
        }

        await KeyAsync(context, text);
    }

    private async Task KeyAsync(HttpContext context, string text)
    {
        var path = context.Request.Path.Value!.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (path is not ["keys", var name, ..] || !_keys.TryGetValue(name, out var versions))
        {
            await ErrorAsync(context, 404, "KeyNotFound", null);
            return;
        }

        switch (context.Request.Method, path)
        {
            case ("GET", [_, _]) when RefusesDisabled && IsDisabled(versions[^1].Version):
                await ErrorAsync(context, 403, "Forbidden", "KeyDisabled");
                break;
            case ("GET", [_, _]):
                await WriteAsync(context, Bundle(name, versions[^1]));
                break;
            case ("GET", [_, _, "versions"]):
                await ListAsync(context, name, versions);
                break;
            case ("GET", [_, _, var version]) when versions.FindIndex(v => v.Version == version) is >= 0 and var at:
                await WriteAsync(context, Bundle(name, versions[at]));
                break;
            case ("POST", [_, _, "rotate"]):
                Make(name);
                await WriteAsync(context, Bundle(name, versions[^1]));
                break;
            case ("POST", [_, _, var version, var operation]) when Gone.TryGetValue(version, out var gone):
                await ErrorAsync(context, gone.Status, gone.Code, gone.Inner);
                break;
            case ("POST", [_, _, var version, var operation]) when versions.Find(v => v.Version == version) is { Key: { } key }:
                await OperateAsync(context, key, $"https://{Host}/keys/{name}/{version}", operation, JsonNode.Parse(text)!);
                break;
            default:
                await ErrorAsync(context, 404, "KeyNotFound", null);
                break;
        }
    }

    // Two to a page, though more were wanted: a vault may give less. The newest come neither first nor last.
    private async Task ListAsync(HttpContext context, string name, List<(string Version, AsymmetricAlgorithm Key)> versions)
    {
        const int Page = 2;
        var at = int.Parse("0" + context.Request.Query["$skiptoken"], System.Globalization.CultureInfo.InvariantCulture);
        if (at == 0 && context.Request.Query["maxresults"].ToString() is not "25")
            Violate("a number of results that was not said or is not given");
        var items = versions.Select(v => (JsonNode)new JsonObject { ["kid"] = $"https://{Host}/keys/{name}/{v.Version}", ["attributes"] = AttributesOf(v.Version) }).ToArray();
        var order = items.Skip(items.Length / 2).Concat(items.Take(items.Length / 2)).ToArray();
        var list = new JsonObject { ["value"] = new JsonArray([.. order.Skip(at).Take(Page)]) };
        list["nextLink"] = NextLink ?? (at + Page < order.Length ? $"https://{Host}:443/keys/{name}/versions?api-version=7.4&$skiptoken={at + Page}&maxresults=25" : null);
        await WriteAsync(context, list);
    }

    private bool IsDisabled(string version) => Attributes.TryGetValue(version, out var attributes) && attributes["enabled"]?.GetValue<bool>() == false;

    private JsonObject AttributesOf(string version)
    {
        var attributes = Attributes.TryGetValue(version, out var own) ? own.DeepClone().AsObject() : new JsonObject { ["enabled"] = true };
        attributes["created"] = 1_700_000_000 + Convert.ToInt64(version, 16);
        attributes["recoveryLevel"] = "Recoverable";
        return attributes;
    }

    private async Task OperateAsync(HttpContext context, AsymmetricAlgorithm key, string kid, string operation, JsonNode body)
    {
        var (algorithm, value) = (body["alg"]!.GetValue<string>(), Base64Url.DecodeFromChars(body["value"]!.GetValue<string>()));
        byte[] result;
        switch (operation, algorithm, key)
        {
            case ("unwrapkey", "RSA-OAEP-256", RSA rsa):
                try
                {
                    result = rsa.Decrypt(value, RSAEncryptionPadding.OaepSHA256);
                }
                catch (CryptographicException)
                {
                    await ErrorAsync(context, 400, "BadParameter", null);
                    return;
                }

                break;
            case ("sign", "ES256", ECDsa ecdsa) when value.Length == SHA256.HashSizeInBytes:
                result = ecdsa.SignHash(value, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
                break;
            default:
                Violate($"{operation} by {algorithm} over {value.Length} bytes");
                await ErrorAsync(context, 400, "BadParameter", null);
                return;
        }

        await WriteAsync(context, new JsonObject { ["kid"] = kid, ["value"] = Base64Url.EncodeToString(result) });
    }

    private JsonObject Bundle(string name, (string Version, AsymmetricAlgorithm Key) newest)
    {
        var key = new JsonObject { ["kid"] = $"https://{Host}/keys/{name}/{newest.Version}", ["key_ops"] = new JsonArray("sign", "verify") };
        if (newest.Key is RSA rsa)
        {
            var parameters = rsa.ExportParameters(false);
            (key["kty"], key["n"], key["e"]) = ("RSA", Base64Url.EncodeToString(parameters.Modulus), Base64Url.EncodeToString(parameters.Exponent));
        }
        else
        {
            var point = ((ECDsa)newest.Key).ExportParameters(false).Q;
            (key["kty"], key["crv"], key["x"], key["y"]) = ("EC", "P-256", Base64Url.EncodeToString(point.X), Base64Url.EncodeToString(point.Y));
        }

        return new JsonObject { ["key"] = key, ["attributes"] = AttributesOf(newest.Version) };
    }

    private void Violate(string what) => Violations.Enqueue(what);

    private static Task WriteAsync(HttpContext context, JsonObject body)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        return context.Response.WriteAsync(body.ToJsonString(JsonSerializerOptions.Default));
    }

    public static Task ErrorAsync(HttpContext context, int status, string code, string? inner)
    {
        context.Response.StatusCode = status;
        var error = new JsonObject { ["code"] = code, ["message"] = "Words for people.\nhttps://go.microsoft.com/" };
        if (inner is not null)
            error["innererror"] = new JsonObject { ["code"] = inner };
        return WriteAsync(context, new JsonObject { ["error"] = error });
    }

    private sealed class OneToken : TokenCredential
    {
        public override AccessToken GetToken(TokenRequestContext requestContext, CancellationToken cancellationToken) => requestContext.Scopes is ["https://vault.azure.net/.default"]
            ? new AccessToken(Token, DateTimeOffset.MaxValue)
            : throw new Azure.Identity.AuthenticationFailedException($"A token for {string.Join(' ', requestContext.Scopes)} was asked for.");

        public override ValueTask<AccessToken> GetTokenAsync(TokenRequestContext requestContext, CancellationToken cancellationToken) => new(GetToken(requestContext, cancellationToken));
    }
}

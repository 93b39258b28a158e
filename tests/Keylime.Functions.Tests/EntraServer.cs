using System.Buffers.Text;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Keylime.Functions.Access;
using Keylime.Testing;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;

namespace Keylime.Functions.Tests;

/// <summary>An issuer on the loopback that does what Entra ID does for us: discovery, keys, device codes and tokens, with real keys, over TLS.</summary>
internal sealed class EntraServer : IAsyncDisposable
{
    public const string Tenant = "11111111-2222-3333-4444-555555555555";
    public const string Api = "aaaaaaaa-0000-0000-0000-000000000001";
    public const string Client = "cccccccc-0000-0000-0000-000000000002";
    public const string ApiUri = "api://keylime.example";
    public const string User = "dddddddd-0000-0000-0000-000000000003";

    private readonly WebApplication _app;
    private readonly X509Certificate2 _certificate;
    private readonly List<RsaKey> _keys = [new("first")];

    private EntraServer(WebApplication app, X509Certificate2 certificate) => (_app, _certificate) = (app, certificate);

    public Uri Authority => new(_app.Urls.Single().Replace("127.0.0.1", "localhost", StringComparison.Ordinal));

    public string Issuer => $"{Authority.GetLeftPart(UriPartial.Authority)}/{Tenant}/v2.0";

    /// <summary>What the discovery document says that it is.</summary>
    public string? ToldIssuer { get; set; }

    /// <summary>Where the discovery document says that the keys are.</summary>
    public string? ToldKeys { get; set; }

    /// <summary>More keys, as they stand in the list.</summary>
    public List<JsonObject> OtherKeys { get; } = [];

    /// <summary>Whether it answers 503 to whatever it is asked.</summary>
    public bool Down { get; set; }

    /// <summary>How often the keys were asked for, or would have been.</summary>
    public int Asked { get; private set; }

    public RsaKey Key => _keys[^1];

    /// <summary>What answers forms at the end points of OAuth; the first part of the path is the tenant.</summary>
    public Func<string, Dictionary<string, string>, (int Status, JsonObject Body)>? OnForm { get; set; }

    public List<(string Path, Dictionary<string, string> Form)> Forms { get; } = [];

    public static async Task<EntraServer> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        using var made = TestCertificates.ServerOf("localhost");
        var certificate = X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, endpoint => endpoint.UseHttps(certificate)));
        var app = builder.Build();
        var server = new EntraServer(app, certificate);
        app.Run(server.AnswerAsync);
        await app.StartAsync(TestContext.Current.CancellationToken);
        return server;
    }

    /// <summary>Settings of a service that takes its tokens.</summary>
    public Hosting.ServiceOptions Configure(Hosting.ServiceOptions options) =>
        options with { EntraTenant = Tenant, EntraAudiences = [Api, ApiUri], EntraAuthority = Authority, EntraClient = Client };

    /// <summary>Lets a service reach it by its own certificate.</summary>
    public void Replace(IServiceCollection services) => services.Replace(ServiceDescriptor.Singleton(new EntraHttp(Authority, Handler())));

    public Task<TestService> StartServiceAsync() => TestService.StartAsync(Replace, configure: Configure);

    public HttpMessageHandler Handler() => new HttpClientHandler
    {
        AllowAutoRedirect = false,
        ServerCertificateCustomValidationCallback = (_, certificate, _, errors) =>
            certificate?.Thumbprint == _certificate.Thumbprint && (errors & ~System.Net.Security.SslPolicyErrors.RemoteCertificateChainErrors) == 0,
    };

    /// <summary>Another key signs from now on; the former ones stay in the list unless they are withdrawn.</summary>
    public RsaKey Rotate(bool withdraw = false)
    {
        if (withdraw)
            _keys.Clear();
        _keys.Add(new RsaKey($"key-{Guid.NewGuid():N}"));
        return Key;
    }

    /// <summary>An access token of version 2.0, of a user who signed in by way of an application, as Entra ID makes it.</summary>
    public JsonObject Claims(DateTimeOffset now, params string[] roles) => new()
    {
        ["aud"] = Api,
        ["iss"] = Issuer,
        ["iat"] = now.ToUnixTimeSeconds(),
        ["nbf"] = now.ToUnixTimeSeconds(),
        ["exp"] = now.AddHours(1).ToUnixTimeSeconds(),
        ["azp"] = Client,
        ["azpacr"] = "0",
        ["name"] = "An Operator",
        ["oid"] = User,
        ["preferred_username"] = "operator@contoso.example",
        ["roles"] = new JsonArray([.. roles.Select(static r => (JsonNode)r)]),
        ["scp"] = "access",
        ["sub"] = "subject",
        ["tid"] = Tenant,
        ["uti"] = "x",
        ["ver"] = "2.0",
    };

    public string Token(DateTimeOffset now, params string[] roles) => Key.Sign(Claims(now, roles));

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        _certificate.Dispose();
        foreach (var key in _keys)
            key.Dispose();
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var path = context.Request.Path.Value!;
        Asked += path == $"/{Tenant}/v2.0/.well-known/openid-configuration" ? 1 : 0;
        var (status, body) = Down ? (StatusCodes.Status503ServiceUnavailable, new JsonObject()) : path switch
        {
            $"/{Tenant}/v2.0/.well-known/openid-configuration" => (StatusCodes.Status200OK, new JsonObject
            {
                ["issuer"] = ToldIssuer ?? Issuer,
                ["jwks_uri"] = ToldKeys ?? $"{Authority}{Tenant}/discovery/v2.0/keys",
                ["token_endpoint"] = $"{Authority}{Tenant}/oauth2/v2.0/token",
            }),
            $"/{Tenant}/discovery/v2.0/keys" => (StatusCodes.Status200OK, new JsonObject { ["keys"] = new JsonArray([.. _keys.Select(static k => (JsonNode)k.Public()), .. OtherKeys.Select(static k => k.DeepClone())]) }),
            _ when context.Request.Method == "POST" && OnForm is not null => await FormAsync(context, path),
            _ => (StatusCodes.Status404NotFound, new JsonObject()),
        };
        context.Response.StatusCode = status;
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(body.ToJsonString(), context.RequestAborted);
    }

    private async Task<(int Status, JsonObject Body)> FormAsync(HttpContext context, string path)
    {
        var form = (await context.Request.ReadFormAsync(context.RequestAborted)).ToDictionary(static f => f.Key, static f => f.Value.ToString());
        Forms.Add((path, form));
        return OnForm!(path, form);
    }
}

/// <summary>A key of the issuer.</summary>
internal sealed class RsaKey(string id, int bits = 2048) : IDisposable
{
    private readonly RSA _rsa = RSA.Create(bits);

    public string Id => id;

    public byte[] Spki => _rsa.ExportSubjectPublicKeyInfo();

    public string Pem => _rsa.ExportSubjectPublicKeyInfoPem();

    public JsonObject Public()
    {
        var numbers = _rsa.ExportParameters(false);
        return new JsonObject
        {
            ["kty"] = "RSA",
            ["use"] = "sig",
            ["kid"] = id,
            ["n"] = Base64Url.EncodeToString(numbers.Modulus),
            ["e"] = Base64Url.EncodeToString(numbers.Exponent),
        };
    }

    /// <param name="header">More of the header, or other values of it.</param>
    public string Sign(JsonObject claims, JsonObject? header = null) => Compose(claims, header, text => _rsa.SignData(text, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));

    /// <param name="sign">Of the two parts in front.</param>
    public string Compose(JsonObject claims, JsonObject? header, Func<byte[], byte[]> sign)
    {
        var whole = new JsonObject { ["typ"] = "JWT", ["alg"] = "RS256", ["kid"] = id };
        foreach (var (name, value) in header ?? [])
            whole[name] = value?.DeepClone();
        foreach (var name in whole.Where(static m => m.Value is null).Select(static m => m.Key).ToArray())
            whole.Remove(name);
        var front = $"{Part(whole)}.{Part(claims)}";
        return $"{front}.{Base64Url.EncodeToString(sign(Encoding.ASCII.GetBytes(front)))}";
    }

    public void Dispose() => _rsa.Dispose();

    private static string Part(JsonObject part) => Base64Url.EncodeToString(JsonSerializer.SerializeToUtf8Bytes(part));
}

internal static class JsonObjects
{
    public static JsonObject With(this JsonObject json, string name, JsonNode? value)
    {
        json[name] = value;
        return json;
    }

    public static JsonObject Without(this JsonObject json, string name)
    {
        json.Remove(name);
        return json;
    }
}

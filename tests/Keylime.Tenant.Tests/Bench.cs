using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Tenant.Tests;

/// <summary>The tool with all its surroundings, against a service over TLS that answers what a test says.</summary>
internal sealed class Bench : IAsyncDisposable
{
    public const string Token = "the-token-that-nobody-may-see-0123456789";

    public static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    private readonly Dictionary<string, string> _variables = [];
    private WebApplication? _app;

    private Bench() => _variables["XDG_CONFIG_HOME"] = Path.Combine(Folder, "config");

    public string Folder { get; } = Directory.CreateTempSubdirectory("tenant-").FullName;

    public ConcurrentQueue<(string Request, string Body, string? Authorization)> Requests { get; } = new();

    public string Url => _app!.Urls.Single();

    public byte[] In { get; set; } = [];

    public string LoginPath => Path.Combine(Folder, "config", "keylime", "login.json");

    public static async Task<Bench> StartAsync(Func<string, (int Status, string Body)> answer, bool login = true)
    {
        var bench = new Bench();
        using var authority = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=test", authority, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        var now = TimeProvider.System.GetUtcNow();
        var certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
        await File.WriteAllTextAsync(bench.PathOf("ca.pem"), certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(bench.PathOf("token"), Token + "\n");

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(certificate)));
        bench._app = builder.Build();
        bench._app.Run(async context =>
        {
            var name = $"{context.Request.Method} {context.Request.Path}{context.Request.QueryString}";
            using var reader = new StreamReader(context.Request.Body);
            bench.Requests.Enqueue((name, await reader.ReadToEndAsync(), context.Request.Headers.Authorization));
            var (status, body) = answer(name);
            context.Response.StatusCode = status;
            context.Response.ContentType = status < 400 ? "application/json" : "application/problem+json";
            if (body.Length > 0)
                await context.Response.WriteAsync(body);
        });
        await bench._app.StartAsync(TestContext.Current.CancellationToken);
        if (login)
        {
            bench._variables["KEYLIME_URL"] = bench.Url;
            bench._variables["KEYLIME_CA"] = bench.PathOf("ca.pem");
            bench._variables["KEYLIME_TOKEN_FILE"] = bench.PathOf("token");
        }

        return bench;
    }

    public string PathOf(string name) => Path.Combine(Folder, name);

    public void Set(string variable, string value) => _variables[variable] = value;

    public async Task<(int Exit, string Out, string Error)> RunAsync(params string[] args)
    {
        var ran = await AskAsync(args);
        if (ran.Exit != 0)
        {
            Assert.Contains("error: ", ran.Error, StringComparison.Ordinal);
            Assert.Contains("\nhint: ", ran.Error, StringComparison.Ordinal);
        }

        return ran;
    }

    /// <summary>A command whose exit code may be its answer, with no error.</summary>
    public async Task<(int Exit, string Out, string Error)> AskAsync(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        using var input = new MemoryStream(In);
        var surroundings = new Surroundings
        {
            In = input,
            Out = output,
            Error = error,
            Variable = name => _variables.GetValueOrDefault(name),
            Interactive = false,
            Clock = new FakeTimeProvider(Now),
        };
        var exit = await Cli.RunAsync(args, surroundings, TestContext.Current.CancellationToken);
        Assert.DoesNotContain(Token, output.ToString() + error, StringComparison.Ordinal);
        return (exit, output.ToString(), error.ToString());
    }

    /// <summary>The doctor ends with 1 and no error: what is wrong stands in its lines.</summary>
    public async Task<(int Exit, string Out, string Error)> RunDoctorAsync(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var surroundings = new Surroundings { In = Stream.Null, Out = output, Error = error, Variable = name => _variables.GetValueOrDefault(name), Interactive = false, Clock = TimeProvider.System };
        return (await Cli.RunAsync(["doctor", .. args], surroundings, TestContext.Current.CancellationToken), output.ToString(), error.ToString());
    }

    public async ValueTask DisposeAsync()
    {
        await _app!.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }

    public static string Node(string id, string state = "trusted", string reason = "Nothing speaks against it.") => $$"""
        {"id":"{{id}}","state":"{{state}}","reason":{{System.Text.Json.JsonSerializer.Serialize(reason)}},"coverage":{"identity":"ek-certificate","boot":"none","runtime":"ima"},
         "intervalSeconds":60,"enrolledAt":"2026-11-24T10:00:00Z","lastVerdictAt":"2026-11-24T11:59:30Z","nextExpectedAt":"2026-11-24T12:00:30Z","attestations":7}
        """;

    public static string Details(string id, string path = "/evil") =>
        "{\"node\":" + Node(id, "failed", "Line 3") + """
        ,"attestationKeyName":"000b00","attestationKeyType":"rsa-2048","endorsementKeyHash":"ab","pcrs":{"7":["00"]},
         "lastVerdict":{"attestation":6,"at":"2026-11-24T11:59:30Z","evaluation":"fail","coverage":{"identity":"ek-key","boot":"none","runtime":"ima"},
          "findings":[{"code":"ima.not_in_policy","detail":"Line 3","path":
        """ + System.Text.Json.JsonSerializer.Serialize(path) + ""","seen":"sha256:00","allowed":[],"line":3}],"findingCount":2,"attestationKeyName":"000b00"}}""";

    public static string Problem(int status, string detail, string? hint = null) =>
        $$"""{"type":"urn:x","title":"t","status":{{status}},"detail":{{System.Text.Json.JsonSerializer.Serialize(detail)}}{{(hint is null ? "" : ",\"hint\":\"" + hint + "\"")}}}""";
}

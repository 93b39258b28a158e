using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using Keylime.Functions.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>The whole service in this process: real TLS, a real database in a folder of its own, and a clock that the test moves.</summary>
internal sealed class TestService : IAsyncDisposable
{
    public const int IntervalSeconds = 60;

    private readonly WebApplication _app;
    private readonly string? _ownFolder;
    private readonly X509Certificate2? _authority; // none where the Functions host ends TLS
    private readonly List<HttpClient> _clients = [];

    private TestService(WebApplication app, string folder, bool own, FakeTimeProvider clock, LogLines log)
    {
        (_app, Folder, Clock, Log) = (app, folder, clock, log);
        _ownFolder = own ? folder : null;
        _authority = File.Exists(Path.Combine(folder, "ca.pem")) ? X509Certificate2.CreateFromPem(File.ReadAllText(Path.Combine(folder, "ca.pem"))) : null;
        Url = new Uri(app.Urls.FirstOrDefault(u => u.StartsWith("https:", StringComparison.Ordinal)) ?? app.Urls.First());
        Anonymous = CreateClient(null);
        Operator = CreateClient(TokenOf("operator"));
    }

    public string Folder { get; }

    public FakeTimeProvider Clock { get; }

    public LogLines Log { get; }

    public Uri Url { get; }

    public HttpClient Anonymous { get; }

    public HttpClient Operator { get; }

    public string TokenOf(string role) => File.ReadAllText(Path.Combine(Folder, role + ".token")).Trim();

    public IServiceProvider Services => _app.Services;

    /// <param name="folder">To start again on what an earlier one left.</param>
    public static async Task<TestService> StartAsync(Action<IServiceCollection>? replace = null, string? folder = null, FakeTimeProvider? clock = null, Uri? plain = null,
        Func<ServiceOptions, ServiceOptions>? configure = null)
    {
        var own = folder is null;
        folder ??= Directory.CreateTempSubdirectory("service-").FullName;
        clock ??= new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        var log = new LogLines();
        var options = new ServiceOptions
        {
            Data = folder,
            Listen = new Uri("https://127.0.0.1:0"),
            RegistrarHttp = plain,
            Interval = TimeSpan.FromSeconds(IntervalSeconds),
            AcceptedIdentities = [Attestation.IdentityLevel.EndorsementKey, Attestation.IdentityLevel.EndorsementList, .. ServiceOptions.DefaultIdentities],
        };
        var app = Service.Build(configure?.Invoke(options) ?? options, services =>
        {
            services.Replace(ServiceDescriptor.Singleton<TimeProvider>(clock));
            services.RemoveAll<ILoggerProvider>();
            services.AddSingleton<ILoggerProvider>(log);
            replace?.Invoke(services);
        });
        await app.StartAsync(TestContext.Current.CancellationToken);
        return new TestService(app, folder, own, clock, log);
    }

    public Uri PlainUrl => new(_app.Urls.Single(u => u.StartsWith("http:", StringComparison.Ordinal)));

    public T Get<T>()
        where T : notnull => _app.Services.GetRequiredService<T>();

    public async Task TrustAsync(string pem) => (await Operator.SendAsync("POST", "/v1/trust", pem, "application/x-pem-file")).Expect(System.Net.HttpStatusCode.OK);

    public async Task PutRuleAsync(string name, System.Text.Json.Nodes.JsonObject rule) =>
        (await Operator.SendAsync("PUT", $"/v1/enrolment-rules/{name}", rule)).Expect(System.Net.HttpStatusCode.OK);

    public HttpClient CreateClient(string? token)
    {
        var handler = new HttpClientHandler
        {
            AllowAutoRedirect = false,
            ServerCertificateCustomValidationCallback = (_, certificate, chain, errors) =>
            {
                chain!.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
                chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
                chain.ChainPolicy.CustomTrustStore.Add(_authority!);
                return certificate is not null && chain.Build(certificate)
                    && (errors & ~System.Net.Security.SslPolicyErrors.RemoteCertificateChainErrors) == 0;
            },
        };
        var client = new HttpClient(new DocumentedAnswers(this, handler)) { BaseAddress = Url };
        if (token is not null)
            client.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        _clients.Add(client);
        return client;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var line in Log.All.Where(l => l.StartsWith("Error", StringComparison.Ordinal)))
            TestContext.Current.TestOutputHelper?.WriteLine(line); // shown where the test fails
        foreach (var client in _clients)
            client.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        _authority?.Dispose();
        if (_ownFolder is not null)
            Directory.Delete(_ownFolder, recursive: true);
    }
}

/// <summary>Holds every answer of every test against the OpenAPI document: what worked did so with a status and a kind of body that are written there.</summary>
internal sealed partial class DocumentedAnswers(TestService service, HttpMessageHandler inner) : DelegatingHandler(inner)
{
    private (System.Text.RegularExpressions.Regex Path, System.Text.Json.Nodes.JsonObject Operations)[]? _paths;

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var response = await base.SendAsync(request, cancellationToken);
        if (!response.IsSuccessStatusCode)
            return response;

        var path = Slashes().Replace(request.RequestUri!.AbsolutePath, "/");
        _paths ??= [.. OpenApi.Make(service.Get<Microsoft.AspNetCore.Routing.EndpointDataSource>().Endpoints.OfType<Microsoft.AspNetCore.Routing.RouteEndpoint>())["paths"]!.AsObject()
            .OrderBy(static p => p.Key.Contains('{', StringComparison.Ordinal)) // names before parameters
            .Select(static p => (new System.Text.RegularExpressions.Regex($"^{Parameter().Replace(p.Key, "[^/]+")}$"), p.Value!.AsObject()))];
        var operation = _paths.FirstOrDefault(p => p.Path.IsMatch(path)).Operations?[request.Method.Method.ToLowerInvariant()];
        if (operation is null && path.StartsWith("/trg-", StringComparison.Ordinal))
            return response; // the host's, and nobody else's
        var content = operation?["responses"]?[$"{(int)response.StatusCode}"]?["content"]?.AsObject();
        Assert.True(content is not null, $"{request.Method} {path}: {(int)response.StatusCode} is not in the OpenAPI document.");
        var media = response.Content.Headers.ContentType?.MediaType;
        Assert.True(media is null ? content.Count == 0 : content.ContainsKey(media), $"{request.Method} {path}: {media ?? "no body"} is not in the OpenAPI document.");
        return response;
    }

    [System.Text.RegularExpressions.GeneratedRegex("//+")]
    private static partial System.Text.RegularExpressions.Regex Slashes();

    [System.Text.RegularExpressions.GeneratedRegex(@"\{\w+\}")]
    private static partial System.Text.RegularExpressions.Regex Parameter();
}

/// <summary>What was logged.</summary>
internal sealed class LogLines : ILoggerProvider, ILogger
{
    private readonly System.Collections.Concurrent.ConcurrentQueue<string> _lines = new();

    public IReadOnlyCollection<string> All => _lines;

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _lines.Enqueue($"{logLevel}: {formatter(state, exception)} {exception}");

    public void Dispose()
    {
    }
}

using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using Azure.Core;
using Azure.Identity;
using Keylime.Attestation;
using Keylime.Functions.Access;
using Keylime.Functions.Identity;
using Keylime.Functions.Keys;
using Keylime.Functions.Nodes;
using Keylime.Functions.Notices;
using Keylime.Functions.Notifications;
using Keylime.Functions.Payloads;
using Keylime.Functions.Policies;
using Keylime.Functions.Registrar;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Functions.Verifier;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;
using Microsoft.Extensions.Logging.Console;

namespace Keylime.Functions.Hosting;

/// <summary>The service, put together: on one data directory, as the embedded default has it.</summary>
internal static partial class Service
{
    // Kestrel's own bound, over the bounds of the routes.
    private const long LargestBody = RouteRules.PolicyBody;

    /// <param name="replace">For tests: registrations that take the place of ours.</param>
    /// <exception cref="IOException">The data directory cannot be used.</exception>
    /// <exception cref="InvalidDataException">A key or the token is damaged.</exception>
    /// <exception cref="StorageUnavailableException">The database cannot be opened.</exception>
    public static WebApplication Build(ServiceOptions options, Action<IServiceCollection>? replace = null)
    {
        PrivateFiles.CreateFolder(options.Data);
        PrivateFiles.CreateFolder(Path.Combine(options.Data, "blobs"));
        PrivateFiles.CreateFolder(Path.Combine(options.Data, "trust"));

        var builder = WebApplication.CreateSlimBuilder();
        builder.Configuration.AddInMemoryCollection(options.Telemetry.All!); // where OpenTelemetry looks
        builder.Logging.ClearProviders().AddConsole(static console => console.FormatterName = JsonLines.FormatterName).AddConsoleFormatter<JsonLines, ConsoleFormatterOptions>();
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning);
        // The Functions host takes lines of standard output for information, and of standard error for errors.
        builder.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = options.HandlerPort is null ? LogLevel.Trace : LogLevel.Critical);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(5));

        AddServices(builder.Services, options);
        replace?.Invoke(builder.Services);
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel((_, kestrel) => Listen(kestrel, options));

        var app = builder.Build();
        _ = app.Services.GetRequiredService<IKeyRing>(); // what cannot be read or made is an error of the start, not of the first request
        _ = app.Services.GetRequiredService<IStoreHealth>();
        _ = app.Services.GetRequiredService<FleetGauges>(); // nobody asks for them but who listens
        app.Services.GetRequiredService<AccessTokens>().PrepareAsync(CancellationToken.None).GetAwaiter().GetResult(); // before anybody can come
        if (options.WeakIdentities.ToArray() is { Length: > 0 } weak)
            LogWeak(app.Logger, string.Join(", ", weak.Select(IdentityNames.Of)));
        app.UseMiddleware<RequestTrace>();
        app.UseMiddleware<Failures>();
        app.UseMiddleware<RequestNormalizer>();
        app.UseRouting(); // after the path is normal
        app.UseMiddleware<Gate>();
        app.UseMiddleware<Overload>();
        app.UseStatusCodePages(static pages => NoRoute(pages.HttpContext));
        MapRoutes(app);
        return app;
    }

    public static void MapRoutes(IEndpointRouteBuilder routes)
    {
        GetHealth.Map(routes);
        GetVersion.Map(routes);
        SignIn.Map(routes);
        OpenApi.Map(routes);
        MetricsRoute.Map(routes);
        RegistrarRoutes.Map(routes);
        VerifierRoutes.Map(routes);
        NodeRoutes.Map(routes);
    }

    private static void AddServices(IServiceCollection services, ServiceOptions options)
    {
        string In(string name) => Path.Combine(options.Data, name);

        services.AddSingleton(options);
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton(provider => new LocalCertificates(options.Data, options.Names, provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<AccessTokens>();
        services.AddAccess(options);
        // What instances share they must all be able to open; the vault is what all of them have.
        services.AddSingleton<IKeyRing>(provider => options is { UsesAzure: true, KeyVault: not null }
            ? KeyRing.LoadOrCreateAsync(
                provider.GetRequiredService<IRecordStore<WrappedMasterKey>>(), provider.GetRequiredService<IVault>(), provider.GetRequiredService<TimeProvider>(), CancellationToken.None).GetAwaiter().GetResult()
            : KeyRing.LoadOrCreate(In("keys")));
        services.AddSingleton<TokenCredential>(static _ => new DefaultAzureCredential());
        services.AddVault(options);
        services.AddSingleton<IChallengeSource, ChallengeSource>();
        services.AddSingleton(provider => new TrustStore(
            In("trust"), provider.GetRequiredService<IRecordStore<TrustedCertificate>>(), provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<TrustStore>>()));
        services.AddSingleton<Outbound>();
        services.AddSingleton<IssuerFetch>();
        services.AddSingleton<Identification>();
        services.AddSingleton<EndorsementClaims>();
        services.AddSingleton<EnrolmentRules>();
        services.AddSingleton<Admission>();
        services.AddSingleton<NodeMaker>();
        services.AddSingleton<RegisterAgent.Dependencies>();
        services.AddSingleton<ActivateAgent.Dependencies>();
        services.AddSingleton<EnrolNodes.Dependencies>();
        services.AddSingleton<EnrolmentRuleRoutes.Dependencies>();
        services.AddSingleton<RateLimits>();
        services.AddSingleton(static provider => new EvidenceLimit(provider.GetRequiredService<ServiceOptions>(), provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<SessionIds>();
        services.AddSingleton<PolicySigners>();
        services.AddSingleton<RecentPolicies>();
        services.AddSingleton<CompiledForms>();
        services.AddSingleton<PolicyTexts>();
        services.AddSingleton<PolicyPins>();
        services.AddSingleton<CompiledPolicies>();
        services.AddSingleton<PutPolicy.Dependencies>();
        services.AddSingleton<EvidenceHistory>();
        services.AddSingleton<PolicyTrials>();
        services.AddSingleton<Heartbeat>();
        services.AddSingleton<Settlement>();
        services.AddSingleton<Challenges>();
        services.AddSingleton<AttestationKeyCache>();
        services.AddSingleton(static provider => new ImaStates(provider.GetRequiredService<IBlobStore>()));
        services.AddSingleton<Judge>();
        services.AddSingleton<Appraiser>(Appraisal.Appraise);

        services.AddSingleton<Webhooks>();
        services.AddSingleton<GroupFilter>();
        services.AddSingleton<DeliverySignal>();
        services.AddSingleton<Wakeups>();
        services.AddSingleton<PoisonedWork>();
        services.AddSingleton<Courier>();
        services.AddSingleton<WebhookChanges>();
        services.AddSingleton<WebhookRoutes.Dependencies>();
        services.AddSingleton<ReceiverMaker>();
        services.AddSingleton<NoticeSigner>();
        services.AddSingleton<NoticeBoard>();
        services.AddSingleton<NoticePosting>();

        services.AddPayloads();

        services.AddStores(options);
        services.AddTelemetry(options);

        services.AddSingleton<Sweep>();
        services.AddHostedService(static provider => provider.GetRequiredService<Sweep>());
        services.AddSingleton<Retention>();
        services.AddHostedService(static provider => provider.GetRequiredService<Retention>());
        services.AddSingleton<Dispatcher>();
        services.AddSingleton<DeliveryRepair>();
        services.AddHostedService(static provider => provider.GetRequiredService<DeliveryRepair>());
        services.AddHostedService<DeliveryPump>();
        services.AddHostedService<Repair>();
        services.AddHostedService<UrlFile>();
    }

    private static void Listen(KestrelServerOptions kestrel, ServiceOptions options)
    {
        kestrel.AddServerHeader = false;
        kestrel.Limits.MaxRequestBodySize = LargestBody;
        kestrel.Limits.MaxRequestLineSize = 8 * 1024;
        if (options.HandlerPort is { } handler)
        {
            kestrel.Listen(IPAddress.Loopback, handler); // the Functions host, which has ended the TLS connection
            return;
        }

        Bind(kestrel, options.Listen, endpoint => endpoint.UseHttps(new TlsHandshakeCallbackOptions { OnConnection = Handshakes(kestrel.ApplicationServices, options) }));
        if (options.RegistrarHttp is { } plain)
            Bind(kestrel, plain, static _ => { });
    }

    private static Func<TlsHandshakeCallbackContext, ValueTask<SslServerAuthenticationOptions>> Handshakes(IServiceProvider services, ServiceOptions options)
    {
        const SslProtocols protocols = SslProtocols.Tls12 | SslProtocols.Tls13;
        if (options is { TlsCertificate: { } certificate, TlsKey: { } key })
        {
            var given = new GivenCertificate(certificate, key, services.GetRequiredService<TimeProvider>(), services.GetRequiredService<ILogger<GivenCertificate>>());
            return _ => ValueTask.FromResult(new SslServerAuthenticationOptions { EnabledSslProtocols = protocols, ServerCertificateContext = given.Current });
        }

        var local = services.GetRequiredService<LocalCertificates>();
        return _ => ValueTask.FromResult(new SslServerAuthenticationOptions { EnabledSslProtocols = protocols, ServerCertificateContext = local.Context });
    }

    private static void Bind(KestrelServerOptions kestrel, Uri url, Action<ListenOptions> configure)
    {
        if (url.Host != "localhost")
            kestrel.Listen(IPAddress.Parse(url.Host.Trim('[', ']')), url.Port, configure);
        else if (url.Port == 0)
            kestrel.Listen(IPAddress.Loopback, 0, configure); // one free port of both families cannot be had
        else
            kestrel.ListenLocalhost(url.Port, configure);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "TPMs without a maker's certificate are accepted: {Identities}. Whoever has a software TPM can be one; verdicts say so")]
    private static partial void LogWeak(ILogger log, string identities);

    // What routing answers by itself, 404 and 405, gets a body too, in the shape of the API that the path belongs to.
    private static Task NoRoute(HttpContext context)
    {
        var refusal = context.Response.StatusCode == StatusCodes.Status405MethodNotAllowed
            ? new Refusal(StatusCodes.Status405MethodNotAllowed, "method_not_allowed", $"{context.Request.Method} is not answered here.")
            : new Refusal(context.Response.StatusCode, "no_such_route", "There is nothing under this path.");
        return refusal.ExecuteAsync(context);
    }
}

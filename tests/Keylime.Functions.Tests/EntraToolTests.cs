using System.Net;
using System.Text.Json.Nodes;
using Keylime.Tenant;

namespace Keylime.Functions.Tests;

/// <summary>The tool signs in at an issuer with real keys, and what it gets opens a real service.</summary>
public sealed class EntraToolTests
{
    private const string Operator = "Keylime.Operator";
    private const string Refresh = "refresh-token-that-nobody-may-see";
    private const string Pending = "authorization_pending";

    [Fact]
    public async Task A_person_signs_in_by_a_code_and_stays_signed_in()
    {
        await using var bench = await Bench.StartAsync();
        var polls = new Queue<string>([Pending, "slow_down", Pending]);
        var refreshed = 0;
        bench.Entra.OnForm = (path, form) => (path[(path.LastIndexOf('/') + 1)..], form.GetValueOrDefault("grant_type")) switch
        {
            ("devicecode", _) => (200, DeviceCode()),
            ("token", "urn:ietf:params:oauth:grant-type:device_code") when polls.TryDequeue(out var error) => (400, new JsonObject { ["error"] = error }),
            ("token", "urn:ietf:params:oauth:grant-type:device_code") when form["device_code"] == "device-code" => (200, bench.Tokens(Refresh)),
            ("token", "refresh_token") when form["refresh_token"] == (refreshed == 0 ? Refresh : $"{Refresh}-1") => (200, bench.Tokens($"{Refresh}-{++refreshed}")),
            _ => (400, new JsonObject { ["error"] = "invalid_grant", ["error_description"] = "AADSTS70000: it has ended\r\nTrace ID: x" }),
        };

        // Nothing but the URL is typed: the service says where.
        var (exit, text, error) = await bench.RunAsync("login", "--entra", "--url", bench.Url, "--ca", bench.Ca);
        Assert.True(exit == 0, error);
        Assert.Contains("Open https://microsoft.example/device in a browser, and enter the code ABCD-EFGH", error, StringComparison.Ordinal);
        Assert.StartsWith("Logged in to", text, StringComparison.Ordinal);
        var begun = bench.Entra.Forms[0];
        Assert.Equal(($"/{EntraServer.Tenant}/oauth2/v2.0/devicecode", EntraServer.Client, $"{EntraServer.Api}/.default openid profile offline_access"), (begun.Path, begun.Form["client_id"], begun.Form["scope"]));
        Assert.Equal(4, bench.Entra.Forms.Count - 1);

        // RFC 8628, 3.5: not before the interval, and five seconds more after each slow_down.
        Assert.True(bench.Times[2] - bench.Times[1] >= TimeSpan.FromSeconds(5) && bench.Times[3] - bench.Times[2] >= TimeSpan.FromSeconds(10) && bench.Times[4] - bench.Times[3] >= TimeSpan.FromSeconds(10), string.Join(' ', bench.Times));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(bench.LoginPath));
        Assert.Contains(Refresh, await File.ReadAllTextAsync(bench.LoginPath, TestContext.Current.CancellationToken), StringComparison.Ordinal);

        // While it holds nobody is asked; then it is renewed, and what is renewed is kept.
        await bench.DoAsync("token", "create", "ci", "--role", "auditor", "--group", "web", "--token-file", bench.PathOf("ci.token"));
        Assert.Equal(0, refreshed);
        bench.Service.Clock.Advance(TimeSpan.FromMinutes(59));
        Assert.Contains("web", await bench.DoAsync("token", "list"), StringComparison.Ordinal);
        Assert.Equal(1, refreshed);
        await bench.DoAsync("node", "list");
        Assert.Equal(1, refreshed);
        bench.Service.Clock.Advance(TimeSpan.FromHours(3));
        await bench.DoAsync("node", "list");
        Assert.Equal(2, refreshed);
        bench.Service.Clock.Advance(TimeSpan.FromHours(2));
        refreshed = 100; // what the tool has is none of those that are taken
        var ended = await bench.RunAsync("node", "list");
        Assert.Equal((Exits.Refused, "error: Entra ID gives no token: invalid_grant: AADSTS70000: it has ended\nhint: the login has ended, or the directory wants more: keylime login --entra\n"), (ended.Exit, ended.Error));
        foreach (var shown in (string[])[text, error, ended.Out, ended.Error])
            Assert.False(shown.Contains(Refresh, StringComparison.Ordinal) || shown.Contains("eyJ", StringComparison.Ordinal), shown);

        // A token goes to the service that it was got for, and to no other.
        var elsewhere = await bench.RunWithAsync(new() { ["KEYLIME_URL"] = "https://localhost:1" }, "node", "list");
        Assert.Equal(Exits.Refused, elsewhere.Exit);
        Assert.Contains("the token", elsewhere.Error, StringComparison.Ordinal);
        await bench.DoAsync("logout");
        Assert.False(File.Exists(bench.LoginPath));
        Assert.Equal(Exits.Refused, (await bench.RunAsync("node", "list")).Exit);
    }

    [Theory]
    [InlineData("authorization_declined", "the person at the browser said no")]
    [InlineData("expired_token", "within its time")]
    [InlineData("unauthorized_client", "public client flows")]
    [InlineData(Pending, "within its time")] // for ever
    public async Task Who_does_not_sign_in_is_not_logged_in(string error, string hint)
    {
        await using var bench = await Bench.StartAsync();
        bench.Entra.OnForm = (path, _) => path.EndsWith("devicecode", StringComparison.Ordinal) ? (200, DeviceCode()) : (400, new JsonObject { ["error"] = error });
        var ran = await bench.RunAsync("login", "--entra", "--url", bench.Url, "--ca", bench.Ca);
        Assert.Equal(Exits.Refused, ran.Exit);
        Assert.Contains(hint, ran.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(bench.LoginPath));
    }

    [Fact]
    public async Task Who_has_no_role_is_told_so_and_not_logged_in()
    {
        await using var bench = await Bench.StartAsync();
        bench.Roles = [];
        bench.Entra.OnForm = (path, _) => (200, path.EndsWith("devicecode", StringComparison.Ordinal) ? DeviceCode() : bench.Tokens(Refresh));
        var ran = await bench.RunAsync("login", "--entra", "--url", bench.Url, "--ca", bench.Ca);
        Assert.Equal(Exits.Refused, ran.Exit);
        Assert.Contains("has no role of this service", ran.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(bench.LoginPath));
    }

    [Fact]
    public async Task A_pipeline_signs_in_by_its_managed_identity_in_both_forms()
    {
        await using var bench = await Bench.StartAsync();
        var starting = 2;
        await using var machine = await HookServer.StartAsync(async context =>
        {
            context.Response.StatusCode = starting-- > 0 ? 503 : 200;
            var token = bench.Entra.Key.Sign(bench.Entra.Claims(bench.Service.Clock.GetUtcNow(), Operator).Without("scp").Without("preferred_username").With("sub", EntraServer.User));
            var body = new JsonObject { ["access_token"] = token, ["expires_on"] = $"{bench.Service.Clock.GetUtcNow().AddHours(1).ToUnixTimeSeconds()}", ["resource"] = EntraServer.Api };
            Assert.Equal(($"{EntraServer.Api}", "the-secret"), (context.Request.Query["resource"].ToString(), context.Request.Headers["X-IDENTITY-HEADER"].ToString()));
            Assert.Equal("2019-08-01", context.Request.Query["api-version"]);
            await Microsoft.AspNetCore.Http.HttpResponseWritingExtensions.WriteAsync(context.Response, body.ToJsonString());
        });
        var variables = new Dictionary<string, string> { ["IDENTITY_ENDPOINT"] = machine.Url + "msi/token", ["IDENTITY_HEADER"] = "the-secret" };
        var ran = await bench.RunWithAsync(variables, "login", "--entra", "--managed-identity", "--url", bench.Url, "--ca", bench.Ca);
        Assert.True(ran.Exit == 0, ran.Error);
        Assert.Equal(3, machine.Requests.Count);
        bench.Service.Clock.Advance(TimeSpan.FromHours(2));
        Assert.Equal(0, (await bench.RunWithAsync(variables, "node", "list")).Exit);
        Assert.Equal(4, machine.Requests.Count);

        // On a virtual machine the other form, at the address that leaves no host.
        bench.Metadata = request =>
        {
            Assert.Equal(("169.254.169.254", "true"), (request.RequestUri!.Host, request.Headers.GetValues("Metadata").Single()));
            Assert.Contains("client_id=cccccccc-0000-0000-0000-000000000002", request.RequestUri.Query, StringComparison.Ordinal);
            return new JsonObject { ["access_token"] = bench.Entra.Token(bench.Service.Clock.GetUtcNow(), Operator), ["expires_in"] = "3600" };
        };
        Assert.Equal(0, (await bench.RunAsync("login", "--entra", "--managed-identity", "--client-id", EntraServer.Client, "--url", bench.Url, "--ca", bench.Ca)).Exit);
    }

    [Fact]
    public async Task A_pipeline_elsewhere_signs_in_by_a_federated_token()
    {
        await using var bench = await Bench.StartAsync();
        await File.WriteAllTextAsync(bench.PathOf("federated"), "eyJ.of.others\n", TestContext.Current.CancellationToken);
        bench.Entra.OnForm = (_, form) => form["client_assertion"] == "eyJ.of.others" && form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" && form["grant_type"] == "client_credentials"
            ? (200, bench.Tokens(null))
            : (401, new JsonObject { ["error"] = "invalid_client" });
        var variables = new Dictionary<string, string> { ["AZURE_FEDERATED_TOKEN_FILE"] = bench.PathOf("federated"), ["AZURE_CLIENT_ID"] = "eeeeeeee-0000-0000-0000-000000000009", ["AZURE_TENANT_ID"] = EntraServer.Tenant };
        var ran = await bench.RunWithAsync(variables, "login", "--entra", "--workload-identity", "--url", bench.Url, "--ca", bench.Ca);
        Assert.True(ran.Exit == 0, ran.Error);
        Assert.Equal("eeeeeeee-0000-0000-0000-000000000009", bench.Entra.Forms.Single().Form["client_id"]);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("login", "--entra", "--workload-identity", "--url", bench.Url, "--ca", bench.Ca)).Exit); // nothing is set
    }

    [Theory]
    [InlineData("--entra", "--token-file", "x")]
    [InlineData("--managed-identity", "--token-file", "x")]
    [InlineData("--entra", "--managed-identity", "--workload-identity")]
    [InlineData("--tenant", "x")]
    [InlineData("--entra", "--authority", "http://x")]
    [InlineData("--entra", "--tenant", "../x", "--client-id", "x", "--scope", "x")]
    [InlineData]
    public async Task What_contradicts_itself_is_said(params string[] options)
    {
        await using var bench = await Bench.StartAsync();
        Assert.Equal(Exits.Usage, (await bench.RunAsync(["login", "--url", bench.Url, "--ca", bench.Ca, .. options])).Exit);
        Assert.Empty(bench.Entra.Forms);
    }

    private static JsonObject DeviceCode() => new()
    {
        ["device_code"] = "device-code",
        ["user_code"] = "ABCD-EFGH",
        ["verification_uri"] = "https://microsoft.example/device",
        ["expires_in"] = 900,
        ["interval"] = 5,
        ["message"] = "…",
    };

    /// <summary>A service, its issuer, and the tool between them, on one clock that runs while the tool waits.</summary>
    private sealed class Bench(EntraServer entra, TestService service) : IAsyncDisposable
    {
        private readonly OperatorTool _tool = new(service);

        public EntraServer Entra => entra;

        public TestService Service => service;

        public string[] Roles { get; set; } = [Operator];

        public string Url => service.Url.ToString();

        public string Ca => Path.Combine(service.Folder, "ca.pem");

        public string LoginPath => PathOf(Path.Combine("keylime", "login.json"));

        /// <summary>When the issuer was asked.</summary>
        public List<DateTimeOffset> Times { get; } = [];

        /// <summary>What answers at the address of the metadata service.</summary>
        public Func<HttpRequestMessage, JsonObject>? Metadata { get; set; }

        public static async Task<Bench> StartAsync()
        {
            var entra = await EntraServer.StartAsync();
            return new Bench(entra, await entra.StartServiceAsync());
        }

        public string PathOf(string name) => _tool.PathOf(name);

        public JsonObject Tokens(string? refresh) => new()
        {
            ["token_type"] = "Bearer",
            ["expires_in"] = 3600,
            ["access_token"] = entra.Token(service.Clock.GetUtcNow(), Roles),
            ["refresh_token"] = refresh,
            ["id_token"] = "eyJ.e30.",
        };

        public async Task<string> DoAsync(params string[] args)
        {
            var (exit, text, error) = await RunAsync(args);
            Assert.True(exit == 0, $"{string.Join(' ', args)}: {exit}: {error}");
            return text;
        }

        public Task<(int Exit, string Out, string Error)> RunAsync(params string[] args) => RunWithAsync([], args);

        public async Task<(int Exit, string Out, string Error)> RunWithAsync(Dictionary<string, string> variables, params string[] args)
        {
            using var output = new StringWriter();
            using var error = new StringWriter();
            var running = Cli.RunAsync(args, new Surroundings
            {
                In = Stream.Null,
                Out = output,
                Error = error,
                Variable = name => name == "XDG_CONFIG_HOME" ? _tool.Folder : variables.GetValueOrDefault(name),
                Interactive = false,
                Clock = service.Clock,
                IssuerHandler = () => new Watched(this, entra.Handler()),
            }, TestContext.Current.CancellationToken);
            while (await Task.WhenAny(running, Task.Delay(2, TestContext.Current.CancellationToken)) != running)
            {
                if (args[0] == "login")
                    service.Clock.Advance(TimeSpan.FromSeconds(1));
            }

            return (await running, output.ToString(), error.ToString());
        }

        public async ValueTask DisposeAsync()
        {
            _tool.Dispose();
            await service.DisposeAsync();
            await entra.DisposeAsync();
        }

        private sealed class Watched(Bench bench, HttpMessageHandler inner) : DelegatingHandler(inner)
        {
            protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
            {
                bench.Times.Add(bench.Service.Clock.GetUtcNow());
                return request.RequestUri!.Host == "169.254.169.254" && bench.Metadata is { } answer
                    ? Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(answer(request).ToJsonString()) })
                    : base.SendAsync(request, cancellationToken);
            }
        }
    }
}

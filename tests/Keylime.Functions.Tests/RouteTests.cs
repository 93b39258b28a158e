using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Functions.Tests;

/// <summary>Every route times every kind of caller, from the route table itself: a new route cannot forget its rule.</summary>
public sealed class RouteTests
{
    // Whoever changes this list changes who may do what without a token: by intent, and with a reason.
    private static readonly string[] OpenToAnyone =
    [
        "/", "/health", "/openapi.json", "/version", "/versions", "/v1/sign-in", "/v2.6", "/v3", "/v3.0", "/agents", "/agents/{id}", "/agents/{id}/activate", "/sessions", "/sessions/{session}",
    ];

    [Fact]
    public async Task Every_route_declares_its_rules_and_what_it_does()
    {
        await using var service = await TestService.StartAsync();
        Assert.NotEmpty(Routes(service));
        foreach (var route in Routes(service))
        {
            var rules = route.Metadata.GetMetadata<RouteRules>();
            Assert.True(rules is not null && rules.Callers != Caller.None, route.DisplayName);
            Assert.NotNull(route.Metadata.GetMetadata<RouteDoc>());
            if (!rules.Callers.HasFlag(Caller.Anyone))
                continue;
            var path = "/" + route.RoutePattern.RawText!.TrimStart('/');
            var bare = path.StartsWith("/v2", StringComparison.Ordinal) || path.StartsWith("/v3", StringComparison.Ordinal)
                ? path[(path.IndexOf('/', 1) is > 0 and var slash ? slash : 0)..] : path;
            Assert.Contains(bare, OpenToAnyone);
        }
    }

    [Fact]
    public async Task CVE_2026_1709_GHSA_4jqp_9qjv_57m2_every_route_times_every_caller()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "victim");
        using var other = await TestAgent.EnrolledAsync(service, "other");
        var created = (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "old", ["role"] = "operator", ["days"] = 1 })).Expect(HttpStatusCode.Created);
        var revoked = (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "gone", ["role"] = "operator" })).Expect(HttpStatusCode.Created)["token"]!.GetValue<string>();
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/tokens/gone")).Status);
        service.Clock.Advance(TimeSpan.FromDays(2));
        using var retired = await TestAgent.EnrolledAsync(service, "retired");
        (await service.Operator.SendAsync("POST", "/v1/nodes/retired/retire")).Expect(HttpStatusCode.OK);
        await agent.AuthenticateAsync();
        await other.AuthenticateAsync();
        (string Name, Caller Is, string? Token, string? Header)[] callers =
        [
            ("anonymous", Caller.None, null, null),
            ("a forged token", Caller.None, "operator.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", null),
            ("an expired token", Caller.None, created["token"]!.GetValue<string>(), null),
            ("another agent", Caller.None, other.Token, null),
            ("the agent", Caller.Agent, agent.Token, null),
            ("an operator", Caller.Operator, service.TokenOf("operator"), null),
            ("an approver", Caller.Approver, service.TokenOf("approver"), null),
            ("an auditor", Caller.Auditor, service.TokenOf("auditor"), null),
            ("a revoked token", Caller.None, revoked, null),
            ("a node that is retired", Caller.None, retired.Token, null),
            ("forged headers of the host", Caller.None, null, "X-Azure-Functions-InvocationId"),
            ("a forged principal", Caller.None, null, "X-MS-CLIENT-PRINCIPAL"),
        ];

        var (combinations, refused) = (0, 0);
        foreach (var route in Routes(service))
        {
            var rules = route.Metadata.GetMetadata<RouteRules>()!;
            foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
            {
                foreach (var caller in callers)
                {
                    var may = rules.Callers.HasFlag(Caller.Anyone) || (rules.Callers & caller.Is) != 0;

                    // Who may, asks about nobody, so that nothing is changed; who may not, about the victim.
                    var about = may && caller.Is != Caller.Agent && !rules.Callers.HasFlag(Caller.Anyone) ? "nobody" : "victim";
                    var path = PathOf(route, about);
                    using var client = service.CreateClient(caller.Token);
                    if (caller.Header is { } header)
                        client.DefaultRequestHeaders.Add(header, "eyJyb2xlIjoib3BlcmF0b3IifQ==");
                    var reply = await client.SendAsync(method, path);
                    var stopped = reply.Status == HttpStatusCode.Unauthorized
                        || reply.Text.Contains("which may not do this", StringComparison.Ordinal) || reply.Text.Contains("Only the Functions host", StringComparison.Ordinal);
                    Assert.True(stopped == !may, $"{caller.Name}: {method} {path}: {reply.Status} {reply.Text}");
                    combinations++;
                    refused += stopped ? 1 : 0;
                }
            }
        }

        TestContext.Current.SendDiagnosticMessage($"authorisation matrix: {combinations} combinations of route, method and caller, {refused} refused");
        Assert.True(combinations > 800 && refused > 400, $"{combinations}, {refused}");

        // Nothing of all that changed anything.
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task Every_route_times_every_caller_of_a_group_and_of_Entra()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "victim");
        (await service.Operator.SendAsync("PATCH", "/v1/nodes/victim", new JsonObject { ["group"] = "web" })).Expect(HttpStatusCode.OK);
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        async Task<string> TokenAsync(string role, string? group) => (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = $"{role}-{group}", ["role"] = role, ["group"] = group }))
            .Expect(HttpStatusCode.Created)["token"]!.GetValue<string>();
        string Entra(params string[] roles) => entra.Token(service.Clock.GetUtcNow(), roles);
        (string Name, Caller Whole, Caller OfWeb, Caller OfOthers, string Token)[] callers =
        [
            ("an operator of web", Caller.None, Caller.Operator, Caller.None, await TokenAsync("operator", "web")),
            ("an operator of db", Caller.None, Caller.None, Caller.Operator, await TokenAsync("operator", "db")),
            ("an approver of web", Caller.None, Caller.Approver, Caller.None, await TokenAsync("approver", "web")),
            ("an auditor of web", Caller.None, Caller.Auditor, Caller.None, await TokenAsync("auditor", "web")),
            ("Entra's operator", Caller.Operator, Caller.None, Caller.None, Entra("Keylime.Operator")),
            ("Entra's approver", Caller.Approver, Caller.None, Caller.None, Entra("Keylime.Approver")),
            ("Entra's auditor", Caller.Auditor, Caller.None, Caller.None, Entra("Keylime.Auditor")),
            ("Entra's operator of db", Caller.None, Caller.None, Caller.Operator, Entra("Keylime.Operator:db")),
            ("Entra's auditor, and operator of web", Caller.Auditor, Caller.Operator, Caller.None, Entra("Keylime.Auditor", "Keylime.Operator:web")),
            ("Entra's auditor of db, and approver of web", Caller.None, Caller.Approver, Caller.Auditor, Entra("Keylime.Auditor:db", "Keylime.Approver:web")),
            ("Entra's user without a role", Caller.None, Caller.None, Caller.None, Entra("Somebody.Elses")),
        ];

        var (combinations, refused, hidden, opened) = (0, 0, 0, 0);
        foreach (var caller in callers)
        {
            using var client = service.CreateClient(caller.Token);
            foreach (var route in Routes(service))
            {
                var rules = route.Metadata.GetMetadata<RouteRules>()!;
                if (rules.Callers.HasFlag(Caller.Anyone))
                    continue;
                foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
                {
                    var (whole, mine, others) = ((rules.Callers & caller.Whole) != 0, (rules.Callers & caller.OfWeb) != 0, (rules.Callers & caller.OfOthers) != 0);
                    var may = whole || (mine || others) && rules.Scoped != Scoping.Refused;

                    // Who may and would change something asks about nobody; everybody else about the victim, which is of web.
                    var reads = method == "GET";
                    var about = (whole || mine) && may && !reads ? "nobody" : "victim";
                    var reply = await client.SendAsync(method, PathOf(route, about));
                    var stopped = reply.Status == HttpStatusCode.Unauthorized || reply.Text.Contains("which may not do this", StringComparison.Ordinal) || reply.Text.Contains("Only the Functions host", StringComparison.Ordinal);
                    Assert.True(stopped == !may, $"{caller.Name}: {method} {PathOf(route, about)}: {reply.Status} {reply.Text}");
                    combinations++;
                    refused += stopped ? 1 : 0;
                    if (!may || rules.Scoped != Scoping.Node)
                        continue;

                    // Of a node of others nothing is told: the answer is that of a node that is not there.
                    if (whole || mine)
                    {
                        Assert.True(!reads || !reply.Text.Contains("There is no node", StringComparison.Ordinal), $"{caller.Name}: {method} {PathOf(route, about)}: {reply.Text}");
                        opened++;
                    }
                    else
                    {
                        var unknown = await client.SendAsync(method, PathOf(route, "nobody"));
                        Assert.Equal((HttpStatusCode.NotFound, unknown.Text.Replace("nobody", "victim", StringComparison.Ordinal)), (reply.Status, reply.Text));
                        hidden++;
                    }
                }
            }
        }

        TestContext.Current.SendDiagnosticMessage($"authorisation matrix, groups and Entra: {combinations} combinations, {refused} refused, {hidden} hidden, {opened} opened");
        Assert.True(combinations > 800 && refused > 400 && hidden > 20 && opened > 50, $"{combinations}, {refused}, {hidden}, {opened}");
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>()); // nothing of all that changed anything
    }

    [Fact]
    public async Task Behind_the_host_its_own_call_opens_the_triggers_and_nothing_else()
    {
        // A message for a channel that no webhook has; timers take any envelope.
        const string Envelope = """{"Data":{"item":"eyJ2ZXJzaW9uIjoxLCJjaGFubmVsIjoiMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAifQ=="},"Metadata":{}}""";
        var port = FreePort();
        await using var service = await TestService.StartAsync(configure: o => o with { HandlerPort = port });
        var (combinations, opened) = (0, 0);
        foreach (var route in Routes(service))
        {
            var rules = route.Metadata.GetMetadata<RouteRules>()!;
            if (rules.Callers.HasFlag(Caller.Anyone))
                continue;
            foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
            {
                foreach (var forwarded in (bool[])[false, true])
                {
                    using var client = service.CreateClient(null);
                    if (forwarded)
                        client.DefaultRequestHeaders.Add("X-Forwarded-For", "198.51.100.7");
                    client.DefaultRequestHeaders.TransferEncodingChunked = method == "POST"; // as the host sends its envelopes
                    var reply = await client.SendAsync(method, PathOf(route, "nobody"), method == "POST" ? Envelope : null);
                    var trigger = rules.Callers == Caller.HostTrigger;
                    Assert.Equal((trigger, forwarded) switch { (true, false) => HttpStatusCode.OK, (true, true) => HttpStatusCode.Forbidden, _ => HttpStatusCode.Unauthorized }, reply.Status);
                    combinations++;
                    opened += reply.Status == HttpStatusCode.OK ? 1 : 0;
                }
            }
        }

        Assert.True(combinations > 80 && opened == 5, $"{combinations}, {opened}");

        // What the host takes for a success is JSON and not empty; whatever else there is to say is no 2xx, and the message comes again.
        using var host = service.CreateClient(null);
        host.DefaultRequestHeaders.TransferEncodingChunked = true;
        var done = await host.SendAsync("POST", "/trg-delivery", Envelope);
        Assert.Equal(("{}", "application/json"), (done.Text, done.ContentType));
        foreach (var bad in (string[])["{}", "null", "{", """{"Data":{"item":"e30="},"Metadata":{}}"""])
            Assert.Equal(HttpStatusCode.BadRequest, (await host.SendAsync("POST", "/trg-delivery", bad)).Status);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await host.SendAsync("POST", "/trg-delivery", $$$"""{"Data":{"item":"{{{new string('A', 300_000)}}}"}}""")).Status);
    }

    [Fact]
    public async Task A_route_without_rules_answers_nobody()
    {
        await using var service = await TestService.StartAsync();
        var reached = false;
        var gate = ActivatorUtilities.CreateInstance<Gate>(service.Services, (RequestDelegate)(_ =>
        {
            reached = true;
            return Task.CompletedTask;
        }));
        foreach (var metadata in (EndpointMetadataCollection[])[new(), new(new RouteRules(Caller.None, ApiFamily.Own))])
        {
            var context = new DefaultHttpContext { RequestServices = service.Services };
            context.Request.Scheme = "https";
            context.Request.Headers.Authorization = "Bearer " + service.TokenOf("operator");
            context.SetEndpoint(new RouteEndpoint(_ => Task.CompletedTask, Microsoft.AspNetCore.Routing.Patterns.RoutePatternFactory.Parse("/new"), 0, metadata, "new"));
            await gate.InvokeAsync(context);
            Assert.InRange(context.Response.StatusCode, 401, 500);
        }

        Assert.False(reached);
    }

    [Fact]
    public async Task Only_the_hosts_own_call_runs_a_trigger()
    {
        await using (var alone = await TestService.StartAsync())
            Assert.Equal(HttpStatusCode.Forbidden, (await alone.Operator.SendAsync("POST", "/trg-sweep")).Status);

        var port = FreePort();
        await using var service = await TestService.StartAsync(configure: o => o with { HandlerPort = port });
        Assert.Equal(HttpStatusCode.OK, await CallAsync(null, null));
        Assert.Equal(HttpStatusCode.Forbidden, await CallAsync(null, null, chunked: false)); // what a client sent where requests are forwarded
        foreach (var header in (string[])["X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto", "x-ms-invocation-id", "X-ARR-LOG-ID"])
            Assert.Equal(HttpStatusCode.Forbidden, await CallAsync(header, null));
        Assert.Equal(HttpStatusCode.Forbidden, await CallAsync(null, "attest.example.org"));
        Assert.Equal(HttpStatusCode.Forbidden, await CallAsync(null, $"attest.example.org:{port}"));

        async Task<HttpStatusCode> CallAsync(string? header, string? host, bool chunked = true)
        {
            using var client = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
            using var request = new HttpRequestMessage(HttpMethod.Post, "/trg-sweep");
            if (header is not null)
                request.Headers.Add(header, "x");
            request.Headers.Host = host;
            request.Content = new StringContent("{}", System.Text.Encoding.UTF8, "application/json");
            request.Headers.TransferEncodingChunked = chunked;
            return (await client.SendAsync(request, TestContext.Current.CancellationToken)).StatusCode;
        }
    }

    [Fact]
    public async Task The_OpenAPI_document_has_every_route_and_no_other()
    {
        await using var service = await TestService.StartAsync();
        var document = (await service.Anonymous.SendAsync("GET", "/openapi.json")).Expect(HttpStatusCode.OK);
        Assert.Equal("3.1.0", document["openapi"]!.GetValue<string>());
        var told = document["paths"]!.AsObject().SelectMany(p => p.Value!.AsObject().Select(o => $"{o.Key.ToUpperInvariant()} {p.Key}"));
        var there = Routes(service).Where(r => r.Metadata.GetMetadata<RouteRules>()!.Callers != Caller.HostTrigger)
            .SelectMany(r => r.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods.Select(m => $"{m} /{r.RoutePattern.RawText!.TrimStart('/')}"));
        Assert.Equal(there.Order(StringComparer.Ordinal), told.Order(StringComparer.Ordinal));

        // Every reference leads somewhere, and what a route says of its callers is what its rules say.
        foreach (var reference in References(document))
            Assert.True(Follow(document, reference) is not null, reference);
        foreach (var route in Routes(service).Where(r => r.Metadata.GetMetadata<RouteRules>()!.Callers != Caller.HostTrigger))
        {
            var operation = document["paths"]!["/" + route.RoutePattern.RawText!.TrimStart('/')]![route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods[0].ToLowerInvariant()]!;
            var callers = operation["x-callers"]!.AsArray().Aggregate(Caller.None, (all, c) => all | Enum.Parse<Caller>(c!.GetValue<string>()));
            Assert.Equal(route.Metadata.GetMetadata<RouteRules>()!.Callers, callers);
            Assert.Equal(callers != Caller.Anyone, operation["security"]!.AsArray().Count > 0);
        }

        Assert.Equal("#/components/schemas/EnrolNode", document["paths"]!["/v1/nodes/{id}"]!["put"]!["requestBody"]!["content"]!["application/json"]!["schema"]!["$ref"]!.GetValue<string>());
        Assert.NotNull(document["components"]!["schemas"]!["EnrolNode"]!["properties"]!["runtimePolicy"]);
    }

    [Fact]
    public async Task The_OpenAPI_document_has_every_query_parameter_and_body_that_a_handler_reads()
    {
        await using var service = await TestService.StartAsync();
        var document = (await service.Anonymous.SendAsync("GET", "/openapi.json")).Expect(HttpStatusCode.OK);
        foreach (var route in Routes(service).Where(r => r.Metadata.GetMetadata<RouteRules>()!.Callers != Caller.HostTrigger))
        {
            var path = "/" + route.RoutePattern.RawText!.TrimStart('/');
            var handler = route.Metadata.GetMetadata<System.Reflection.MethodInfo>()!;
            foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
            {
                var operation = document["paths"]![path]![method.ToLowerInvariant()]!;
                var told = operation["parameters"]!.AsArray().Where(p => p!["in"]!.GetValue<string>() == "query").Select(p => p!["name"]!.GetValue<string>()).ToArray();
                var read = handler.GetParameters().Where(p => p.ParameterType == typeof(string) && !path.Contains($"{{{p.Name}}}", StringComparison.Ordinal)).Select(p => p.Name);
                Assert.All(read, name => Assert.Contains(name, told));
                Assert.Equal(told.Distinct(), told);

                // whoever takes a body of some size says what it is
                if (route.Metadata.GetMetadata<RouteRules>()!.MaxBody > RouteRules.NoBody)
                    Assert.NotEmpty(operation["requestBody"]!["content"]!.AsObject());
                Assert.DoesNotContain(operation["responses"]!.AsObject(), r => r.Key is "200" && method == "GET" && r.Value!["content"]!.AsObject().Count == 0 && !path.StartsWith("/v", StringComparison.Ordinal) && path != "/");
            }
        }

        // and what it says of them is what the service takes
        foreach (var (path, operations) in document["paths"]!.AsObject().Where(p => !p.Key.Contains('{', StringComparison.Ordinal)))
        {
            foreach (var parameter in operations!["get"]?["parameters"]?.AsArray() ?? [])
            {
                var schema = parameter!["schema"]!;
                var name = parameter["name"]!.GetValue<string>();
                var values = (schema["enum"] ?? schema["items"]?["enum"])?.AsArray().Select(v => v!.GetValue<string>()).ToArray() ?? (name == "limit" ? ["1", "1000"] : []);
                foreach (var value in values)
                    (await service.Operator.SendAsync("GET", $"{path}?{name}={value}")).Expect(HttpStatusCode.OK);
                if (values.Length > 0)
                    Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("GET", $"{path}?{name}=0x")).Status);
            }
        }
    }

    private static string PathOf(RouteEndpoint route, string about) => "/" + route.RoutePattern.RawText!.TrimStart('/')
        .Replace("{id}", about, StringComparison.Ordinal).Replace("{number}", "0", StringComparison.Ordinal)
        .Replace("{name}", about, StringComparison.Ordinal).Replace("{session}", "x", StringComparison.Ordinal)
        .Replace("{thumbprint}", "00", StringComparison.Ordinal).Replace("{hash}", "00", StringComparison.Ordinal);

    private static IEnumerable<string> References(JsonNode node) => node switch
    {
        JsonObject members => members.Where(m => m.Value is not null).SelectMany(m => m.Key == "$ref" && m.Value is JsonValue value ? [value.GetValue<string>()] : References(m.Value!)),
        JsonArray items => items.OfType<JsonNode>().SelectMany(References),
        _ => [],
    };

    private static JsonNode? Follow(JsonNode document, string reference) =>
        reference.TrimStart('#', '/').Split('/').Aggregate((JsonNode?)document, (at, part) => at switch
        {
            JsonObject members => members[part.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal)],
            JsonArray items => items[int.Parse(part, System.Globalization.CultureInfo.InvariantCulture)],
            _ => null,
        });

    private static int FreePort()
    {
        using var socket = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        socket.Start();
        return ((IPEndPoint)socket.LocalEndpoint).Port;
    }

    [Fact]
    public async Task The_plain_listener_answers_the_registrars_public_routes_only()
    {
        await using var service = await TestService.StartAsync(plain: new Uri("http://127.0.0.1:0"));
        using var plain = new HttpClient { BaseAddress = service.PlainUrl };
        Upstream.CheckVersion(await plain.SendAsync("GET", "/version"));
        using var agent = new TestAgent(service, "node");
        Upstream.CheckEnvelope(await plain.SendAsync("POST", "/v2.6/agents/node", agent.Registration()));

        var token = service.Operator.DefaultRequestHeaders.Authorization!.Parameter;
        foreach (var path in (string[])["/v1/nodes", "/v2.6/agents", "/health"])
            Assert.Equal(HttpStatusCode.BadRequest, (await plain.SendAsync("GET", path, token: token)).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await plain.SendAsync("POST", "/v3.0/sessions", agent.SessionRequest(), Http.JsonApi)).Status);
    }

    [Theory]
    [InlineData("GET", "/v1/nothing", HttpStatusCode.NotFound)]
    [InlineData("DELETE", "/v1/nodes", HttpStatusCode.MethodNotAllowed)]
    public async Task What_is_not_there_gets_a_problem(string method, string path, HttpStatusCode status)
    {
        await using var service = await TestService.StartAsync();
        var reply = await service.Operator.SendAsync(method, path);
        Assert.Equal(status, reply.Status);
        Assert.Equal("application/problem+json", reply.ContentType);
    }

    private static IEnumerable<RouteEndpoint> Routes(TestService service) =>
        service.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>();
}

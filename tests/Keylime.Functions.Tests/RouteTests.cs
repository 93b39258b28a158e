using System.Net;
using Keylime.Functions.Hosting;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Functions.Tests;

/// <summary>Every route times every kind of caller, from the route table itself: a new route cannot forget its rule.</summary>
public sealed class RouteTests
{
    // Whoever changes this list changes who may do what without a token: by intent, and with a reason.
    private static readonly string[] OpenToAnyone =
    [
        "/", "/health", "/version", "/versions", "/v2.6", "/v3", "/v3.0", "/agents", "/agents/{id}", "/agents/{id}/activate", "/sessions", "/sessions/{session}",
    ];

    [Fact]
    public async Task Every_route_declares_its_rules()
    {
        await using var service = await TestService.StartAsync();
        Assert.NotEmpty(Routes(service));
        foreach (var route in Routes(service))
        {
            var rules = route.Metadata.GetMetadata<RouteRules>();
            Assert.True(rules is not null, route.DisplayName);
            if (rules.Caller != Caller.Anyone)
                continue;
            var path = "/" + route.RoutePattern.RawText!.TrimStart('/');
            var bare = path.StartsWith("/v2", StringComparison.Ordinal) || path.StartsWith("/v3", StringComparison.Ordinal)
                ? path[(path.IndexOf('/', 1) is > 0 and var slash ? slash : 0)..] : path;
            Assert.Contains(bare, OpenToAnyone);
        }
    }

    [Fact]
    public async Task No_route_answers_whoever_has_no_right_token()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "victim");
        using var other = await TestAgent.EnrolledAsync(service, "other");
        foreach (var route in Routes(service))
        {
            var rules = route.Metadata.GetMetadata<RouteRules>()!;
            var path = "/" + route.RoutePattern.RawText!.TrimStart('/')
                .Replace("{id}", "victim", StringComparison.Ordinal).Replace("{number}", "0", StringComparison.Ordinal)
                .Replace("{name}", "victim", StringComparison.Ordinal).Replace("{session}", "x", StringComparison.Ordinal);
            foreach (var method in route.Metadata.GetMetadata<HttpMethodMetadata>()!.HttpMethods)
            {
                var (nobody, forged, stranger) = (await TryAsync(null), await TryAsync("forged"), await TryAsync(other.Token));
                if (rules.Caller == Caller.Anyone)
                {
                    Assert.All(new[] { nobody, forged, stranger }, s => Assert.NotEqual(HttpStatusCode.Unauthorized, s));
                    continue;
                }

                Assert.All(new[] { nobody, forged, stranger }, s => Assert.True(s == HttpStatusCode.Unauthorized, $"{method} {path}: {s}"));
                if (rules.Caller == Caller.Operator)
                    Assert.True(await TryAsync(agent.Token) == HttpStatusCode.Unauthorized, $"{method} {path}");
                if (rules.Caller == Caller.Agent)
                    Assert.True(await TryAsync(service.Operator.DefaultRequestHeaders.Authorization!.Parameter) == HttpStatusCode.Unauthorized, $"{method} {path}");

                async Task<HttpStatusCode> TryAsync(string? token) => (await service.Anonymous.SendAsync(method, path, null, token: token)).Status;
            }
        }

        // Nothing of all that changed anything.
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
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

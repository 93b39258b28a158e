using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Keylime.Functions.Tests;

/// <summary>Tokens of Entra ID, from an issuer with real keys, at the service, over HTTP: what opens it, and everything that does not.</summary>
public sealed class EntraTests
{
    private const string Operator = "Keylime.Operator";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_user_with_a_role_does_what_the_role_may_and_events_say_who()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        var now = service.Clock.GetUtcNow();
        var auditor = entra.Token(now, "Keylime.Auditor", "Somebody.Elses", "keylime.operator", "Keylime.Operator.More", "Keylime.Operator:");
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, auditor));
        var refused = await service.Anonymous.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci", ["role"] = "auditor" }, token: auditor);
        Assert.Equal(HttpStatusCode.Forbidden, refused.Status);
        Assert.Contains("is of the role auditor, which may not do this", refused.Text, StringComparison.Ordinal);

        (await service.Anonymous.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci", ["role"] = "auditor" }, token: entra.Token(now, Operator))).Expect(HttpStatusCode.Created);
        var events = (await service.Operator.SendAsync("GET", "/v1/events?type=token.created")).Expect(HttpStatusCode.OK);
        Assert.StartsWith($"entra operator@contoso.example (oid {EntraServer.User}) makes the token 'ci'", events["events"]![0]!["detail"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal(1, entra.Asked);
    }

    [Fact]
    public async Task Applications_and_tokens_of_version_1_are_known_too()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        var now = service.Clock.GetUtcNow();

        var pipeline = entra.Claims(now, Operator).Without("scp").Without("preferred_username").With("sub", EntraServer.User);
        (await service.Anonymous.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "made", ["role"] = "auditor" }, token: entra.Key.Sign(pipeline))).Expect(HttpStatusCode.Created);
        var events = (await service.Operator.SendAsync("GET", "/v1/events?type=token.created")).Expect(HttpStatusCode.OK);
        Assert.StartsWith($"entra app:{EntraServer.Client} (oid {EntraServer.User}) makes", events["events"]![0]!["detail"]!.GetValue<string>(), StringComparison.Ordinal);

        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, entra.Key.Sign(VersionOne(entra, now))));
        Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, entra.Key.Sign(VersionOne(entra, now).With("ver", "2.0"))));
        Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, entra.Key.Sign(VersionOne(entra, now).Without("appid").With("azp", EntraServer.Client))));
    }

    [Fact]
    public async Task Whatever_is_wrong_with_a_token_refuses_it()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        using var other = new RsaKey(entra.Key.Id);
        using var small = new RsaKey("small", 1024);
        using var curve = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        entra.OtherKeys.Add(small.Public());
        entra.OtherKeys.Add(new JsonObject { ["kty"] = "oct", ["use"] = "sig", ["kid"] = "secret", ["k"] = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0" });
        entra.OtherKeys.Add(other.Public().With("kid", "to encrypt").With("use", "enc"));
        entra.OtherKeys.Add(other.Public().With("kid", "of another directory").With("issuer", "https://login.microsoftonline.com/99999999-2222-3333-4444-555555555555/v2.0"));
        var now = service.Clock.GetUtcNow();
        var key = entra.Key;
        JsonObject Good() => entra.Claims(now, Operator);
        string Hmac(byte[] secret) => key.Compose(Good(), new JsonObject { ["alg"] = "HS256" }, text => HMACSHA256.HashData(secret, text));

        (string What, string Token, string Why)[] bad =
        [
            ("another issuer", key.Sign(Good().With("iss", "https://login.microsoftonline.com/99999999-2222-3333-4444-555555555555/v2.0")), "another issuer"),
            ("another directory of the same issuer", key.Sign(Good().With("iss", entra.Issuer.Replace(EntraServer.Tenant, "99999999-2222-3333-4444-555555555555", StringComparison.Ordinal))), "another issuer"),
            ("a common issuer", key.Sign(Good().With("iss", entra.Issuer.Replace(EntraServer.Tenant, "common", StringComparison.Ordinal))), "another issuer"),
            ("no issuer", key.Sign(Good().Without("iss")), "another issuer"),
            ("another tenant", key.Sign(Good().With("tid", "99999999-2222-3333-4444-555555555555")), "another directory"),
            ("no tenant", key.Sign(Good().Without("tid")), "another directory"),
            ("another audience", key.Sign(Good().With("aud", "00000003-0000-0000-c000-000000000000")), "another application"),
            ("an audience that begins like ours", key.Sign(Good().With("aud", EntraServer.ApiUri + ".evil")), "another application"),
            ("no audience", key.Sign(Good().Without("aud")), "another application"),
            ("expired", key.Sign(Good().With("exp", now.AddMinutes(-3).ToUnixTimeSeconds())), "does not hold now"),
            ("not yet valid", key.Sign(Good().With("nbf", now.AddMinutes(3).ToUnixTimeSeconds())), "does not hold now"),
            ("without an end", key.Sign(Good().Without("exp")), "does not hold now"),
            ("alg none", key.Compose(Good(), new JsonObject { ["alg"] = "none" }, static _ => []), "algorithm"),
            ("alg None", key.Compose(Good(), new JsonObject { ["alg"] = "NONE" }, static _ => []), "algorithm"),
            ("no algorithm", key.Sign(Good(), new JsonObject { ["alg"] = null }), "algorithm"),
            ("nothing signed", key.Compose(Good(), null, static _ => []), "signature"),
            ("HS256 with the public key, DER", Hmac(key.Spki), "algorithm"),
            ("HS256 with the public key, PEM", Hmac(Encoding.ASCII.GetBytes(key.Pem)), "algorithm"),
            ("RS256 said, HMAC made", key.Compose(Good(), null, text => HMACSHA256.HashData(key.Spki, text)), "signature"),
            ("ES256 said for an RSA key", key.Compose(Good(), new JsonObject { ["alg"] = "ES256" }, text => curve.SignData(text, HashAlgorithmName.SHA256)), "signature"),
            ("another key of the same name", other.Sign(Good()), "signature"),
            ("a key in the header", other.Sign(Good(), new JsonObject { ["jwk"] = other.Public() }), "signature"),
            ("a key in the header, without a name", other.Sign(Good(), new JsonObject { ["kid"] = null, ["jwk"] = other.Public() }), "names no key"),
            ("an unknown key", key.Sign(Good(), new JsonObject { ["kid"] = "nobody's" }), "none of this directory's"),
            ("a key that is too small", small.Sign(Good()), "none of this directory's"),
            ("a key to encrypt with", other.Sign(Good(), new JsonObject { ["kid"] = "to encrypt" }), "none of this directory's"),
            ("a key of another directory", other.Sign(Good(), new JsonObject { ["kid"] = "of another directory" }), "none of this directory's"),
            ("a symmetric key of the list", key.Compose(Good(), new JsonObject { ["kid"] = "secret" }, text => HMACSHA256.HashData("secretsecretsecretsecretsecretsecret"u8, text)), "none of this directory's"),
            ("a header that must be understood", key.Sign(Good(), new JsonObject { ["crit"] = new JsonArray("b64"), ["b64"] = false }), "crit"),
            ("another type", key.Sign(Good(), new JsonObject { ["typ"] = "logout+jwt" }), "another type"),
            ("an ID token", key.Sign(IdToken(entra, now)), "no access token"),
            ("an ID token with a scope", key.Sign(IdToken(entra, now).With("scp", "access").With("azp", EntraServer.Client)), "no access token"),
            ("a user's without a scope", key.Sign(Good().Without("scp")), "no scope"),
            ("without an owner", key.Sign(Good().Without("oid")), "whose it is"),
            ("of version 3", key.Sign(Good().With("ver", "3.0")), "version"),
            ("altered", Altered(key.Sign(entra.Claims(now, "Keylime.Auditor")), Operator), "signature"),
        ];
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, key.Sign(Good())));
        foreach (var (what, token, why) in bad)
        {
            var reply = await service.Anonymous.SendAsync("GET", "/v1/nodes", token: token);
            Assert.True(reply.Status == HttpStatusCode.Unauthorized && reply.Json["detail"]!.GetValue<string>().Contains(why, StringComparison.Ordinal), $"{what}: {reply.Status} {reply.Text}");
        }

        // At its edges the time has a tolerance of two minutes.
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, key.Sign(Good().With("exp", now.AddSeconds(-100).ToUnixTimeSeconds()).With("nbf", now.AddSeconds(100).ToUnixTimeSeconds()))));
        Assert.DoesNotContain(service.Log.All, l => bad.Any(b => l.Contains(b.Token, StringComparison.Ordinal) || l.StartsWith("Error", StringComparison.Ordinal)));
        var events = (await service.Operator.SendAsync("GET", "/v1/events?type=token.refused")).Expect(HttpStatusCode.OK);
        Assert.Single(events["events"]!.AsArray(), e => e!["detail"]!.GetValue<string>().Contains("Entra", StringComparison.Ordinal)); // once a minute, however many come
    }

    [Fact]
    public async Task Claims_of_any_kind_are_refused_and_break_nothing()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        var now = service.Clock.GetUtcNow();
        foreach (var name in entra.Claims(now, Operator).Select(static c => c.Key).ToArray())
        {
            foreach (var value in (string[])["null", "{}", "[]", "[[]]", "[{}]", "true", "-1", "1e400", "\"\"", "\"\\u0000\\r\\n\"", "{\"a\":[1]}"])
            {
                var claims = entra.Claims(now, Operator).With(name, JsonNode.Parse(value));
                var status = await AskAsync(service, entra.Key.Sign(claims));
                var may = name is "name" or "preferred_username" or "iat" or "azpacr" or "uti" or "sub" // nothing is decided by these
                    || name is "nbf" && value is "null" or "-1"; // valid since before
                Assert.True(may ? status is HttpStatusCode.OK or HttpStatusCode.Unauthorized : status is HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden || name is "scp" && status is HttpStatusCode.OK, $"{name} {value}: {status}");
            }
        }

        // Whatever a user is called, events show it harmless, and the id behind it is the user's own.
        var named = entra.Claims(now, Operator).With("preferred_username", "a (oid 00000000-0000-0000-0000-000000000000)\r\n\u202e" + new string('x', 500));
        (await service.Anonymous.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "made", ["role"] = "auditor" }, token: entra.Key.Sign(named))).Expect(HttpStatusCode.Created);
        var detail = (await service.Operator.SendAsync("GET", "/v1/events?type=token.created")).Expect(HttpStatusCode.OK)["events"]![0]!["detail"]!.GetValue<string>();
        Assert.Matches($"^entra a\\?\\?oid\\?00000000-0000-0000-0000-000000000000\\?\\?\\?\\?x+ \\(oid {EntraServer.User}\\) makes", detail);
        Assert.InRange(detail.Length, 1, 300);

        // What is no JWT, or half of one.
        var good = entra.Token(now, Operator);
        foreach (var token in (string[])["eyJ", "eyJ.eyJ.", "eyJ..", "eyJ.eyJ.x", "eyJhbGciOiJSUzI1NiJ9.e30.", good[..^1], good + "A", good + ".", good + ".a.b", good.Replace('.', ' '), "." + good, new string('e', 20_000)])
            Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, token));
        var many = entra.Token(now, [.. Enumerable.Range(0, 199).Select(static i => $"Keylime.Auditor:group-{i:d3}-of-a-longer-name"), Operator]);
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, many));
        Assert.DoesNotContain(service.Log.All, static l => l.StartsWith("Error", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Who_has_no_role_of_ours_is_told_so()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        foreach (var roles in (string[][])[[], ["Task.Read", "Operator", "Keylime.Operator:", "Keylime.Operator:a b", "Keylime.Operator/web", " Keylime.Operator", "KEYLIME.OPERATOR"]])
        {
            var reply = await service.Anonymous.SendAsync("GET", "/v1/nodes", token: entra.Token(service.Clock.GetUtcNow(), roles));
            Assert.Equal(HttpStatusCode.Forbidden, reply.Status);
            Assert.Contains("has no role of this service", reply.Text, StringComparison.Ordinal);
            Assert.Contains("Keylime.Operator", reply.Json["hint"]!.GetValue<string>(), StringComparison.Ordinal);
        }

        // A role of another application is in a token for that application.
        Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, entra.Key.Sign(entra.Claims(service.Clock.GetUtcNow(), Operator).With("aud", "00000003-0000-0000-c000-000000000000"))));
    }

    [Fact]
    public async Task Keys_come_and_go_and_strangers_do_not_hammer_the_issuer()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        var first = entra.Key;
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
        using var strangers = new RsaKey("strangers");
        for (var i = 0; i < 50; i++)
            Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, strangers.Sign(entra.Claims(service.Clock.GetUtcNow(), Operator), new JsonObject { ["kid"] = $"made up {i}" })));
        Assert.Equal(1, entra.Asked);

        // A new key is found, at the latest a minute after the last look.
        entra.Rotate();
        Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
        service.Clock.Advance(TimeSpan.FromSeconds(61));
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ => Assert.Equal(HttpStatusCode.OK, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)))));
        Assert.Equal(2, entra.Asked);
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, first.Sign(entra.Claims(service.Clock.GetUtcNow(), Operator)))); // in the list still

        // One that was withdrawn opens nothing an hour later.
        entra.Rotate(withdraw: true);
        service.Clock.Advance(TimeSpan.FromMinutes(61));
        Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, first.Sign(entra.Claims(service.Clock.GetUtcNow(), Operator))));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
        Assert.Equal(3, entra.Asked);
    }

    [Fact]
    public async Task While_the_issuer_is_down_known_keys_last_a_day_and_unknown_ones_open_nothing()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await entra.StartServiceAsync();
        entra.Down = true;
        for (var i = 0; i < 5; i++)
        {
            var reply = await service.Anonymous.SendAsync("GET", "/v1/nodes", token: entra.Token(service.Clock.GetUtcNow(), Operator));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, reply.Status);
            Assert.NotNull(reply.RetryAfter);
        }

        Assert.Equal(1, entra.Asked);
        Assert.Equal(HttpStatusCode.OK, (await service.Operator.SendAsync("GET", "/v1/nodes")).Status); // the service's own tokens need nobody

        entra.Down = false;
        service.Clock.Advance(TimeSpan.FromSeconds(61));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
        entra.Down = true;
        service.Clock.Advance(TimeSpan.FromHours(23));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
        service.Clock.Advance(TimeSpan.FromHours(2));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
        Assert.DoesNotContain(service.Log.All, static l => l.StartsWith("Error", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("https://login.microsoftonline.com/common/v2.0", null)]
    [InlineData(null, "https://127.0.0.1:1/keys")]
    [InlineData(null, "http://localhost/keys")]
    [InlineData(null, "")]
    public async Task A_discovery_document_of_somebody_else_gives_no_keys(string? issuer, string? keys)
    {
        await using var entra = await EntraServer.StartAsync();
        (entra.ToldIssuer, entra.ToldKeys) = (issuer, keys);
        await using var service = await entra.StartServiceAsync();
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
    }

    [Fact]
    public async Task A_service_without_Entra_takes_none_of_its_tokens_and_no_name_looks_like_one()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await TestService.StartAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, await AskAsync(service, entra.Token(service.Clock.GetUtcNow(), Operator)));
        Assert.Equal(0, entra.Asked);
        Assert.Null((await service.Anonymous.SendAsync("GET", "/v1/sign-in")).Expect(HttpStatusCode.OK)["entra"]);
        var reply = await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "eyJhbGciOiJSUzI1NiJ9.x", ["role"] = "operator" });
        Assert.Equal(HttpStatusCode.BadRequest, reply.Status);

        // A name may have dots, and is no JWT for that.
        var made = (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci.web", ["role"] = "auditor" })).Expect(HttpStatusCode.Created);
        Assert.Equal(HttpStatusCode.OK, await AskAsync(service, made["token"]!.GetValue<string>()));
    }

    [Fact]
    public async Task Who_put_a_policy_does_not_approve_it_under_another_name()
    {
        await using var entra = await EntraServer.StartAsync();
        await using var service = await TestService.StartAsync(entra.Replace, configure: o => entra.Configure(o) with { RequirePolicyApproval = true });
        var now = service.Clock.GetUtcNow();
        var text = GroupTests.PolicyText("/usr/bin/a");
        var digest = (await service.Anonymous.SendAsync("PUT", "/v1/policies/p", text, token: entra.Token(now, Operator))).Expect(HttpStatusCode.Created)["proposedDigest"]!.GetValue<string>();
        var renamed = entra.Claims(now, Operator).With("preferred_username", "married@contoso.example");
        var approval = new JsonObject { ["digest"] = digest };
        Assert.Equal(HttpStatusCode.Forbidden, (await service.Anonymous.SendAsync("POST", "/v1/policies/p/approve", approval, token: entra.Key.Sign(renamed))).Status);
        var another = entra.Claims(now, "Keylime.Approver").With("oid", "eeeeeeee-0000-0000-0000-000000000004"); // of the same name, which anybody may have
        (await service.Anonymous.SendAsync("POST", "/v1/policies/p/approve", approval, token: entra.Key.Sign(another))).Expect(HttpStatusCode.OK);
    }

    private static JsonObject VersionOne(EntraServer entra, DateTimeOffset now) => entra.Claims(now, Operator)
        .Without("azp").Without("preferred_username").With("appid", EntraServer.Client).With("upn", "operator@contoso.example")
        .With("iss", $"https://sts.windows.net/{EntraServer.Tenant}/").With("aud", EntraServer.ApiUri).With("ver", "1.0");

    // Of the service's own application, whose client id is the audience of its access tokens too.
    private static JsonObject IdToken(EntraServer entra, DateTimeOffset now) => entra.Claims(now, Operator).Without("azp").Without("azpacr").Without("scp").With("nonce", "n");

    private static string Altered(string token, string role)
    {
        var parts = token.Split('.');
        var claims = JsonNode.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(parts[1]))!.AsObject();
        claims["roles"] = new JsonArray(role);
        return $"{parts[0]}.{System.Buffers.Text.Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims.ToJsonString()))}.{parts[2]}";
    }

    private static async Task<HttpStatusCode> AskAsync(TestService service, string token)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/nodes");
        request.Headers.TryAddWithoutValidation("Authorization", "Bearer " + token);
        using var response = await service.Anonymous.SendAsync(request, Cancel);
        return response.StatusCode;
    }
}

using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>Payloads: encrypted by the operator's tool, released to a machine that passes, opened by its TPM and by nothing else.</summary>
public sealed class PayloadTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_machine_that_passes_opens_what_was_put_for_it_and_the_ledger_says_so()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await BootTests.BootedAsync(service);
        Assert.Null(PayloadBench.PayloadsOf(await agent.AttestWholeAsync()));
        await tool.PutAsync("db.key", null, "--node", agent.Id, "--require", "boot,runtime");
        Assert.Equal(["db.key 1 24"], await agent.OffersAsync());
        Assert.Equal(PayloadBench.Secret, await agent.FetchAsync("db.key"));

        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var digest = PayloadBench.PayloadsOf(await agent.AttestWholeAsync());
        Assert.NotNull(digest);
        var release = (await ReleasesAsync(service, "db.key")).Single();
        Assert.Equal(("granted", true), (release["code"]!.GetValue<string>(), release["granted"]!.GetValue<bool>()));
        var number = (await agent.ReleasedAsync("db.key", RandomNumberGenerator.GetBytes(32))).Release;
        var report = new JsonObject { ["version"] = 1, ["release"] = number, ["outcome"] = "written" };
        Assert.Equal(HttpStatusCode.NoContent, (await service.Anonymous.SendAsync("POST", $"/v3.0/agents/{agent.Id}/payloads/db.key/report", report, token: agent.Token)).Status);
        Assert.Equal("written", (await ReleasesAsync(service, "db.key"))[0]["outcome"]!.GetValue<string>());
        Assert.Equal(["payload.released", "payload.released", "payload.delivered"], (await service.EventTypesAsync($"/v1/nodes/{agent.Id}/events")).Where(static t => t.StartsWith("payload.", StringComparison.Ordinal)).Reverse());
        var text = await tool.DoAsync("payload", "releases", "db.key");
        Assert.Contains("Released to PCRs 0, 2, 4, 7 (sha256) of boot", text, StringComparison.Ordinal);
        Assert.Contains("written", text, StringComparison.Ordinal);

        // Another content changes what the answers to attestations say.
        await tool.PutAsync("db.key", "other"u8.ToArray(), "--node", agent.Id, "--require", "boot,runtime");
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        Assert.NotEqual(digest, PayloadBench.PayloadsOf(await agent.AttestWholeAsync()));
        Assert.Equal("other"u8.ToArray(), await agent.FetchAsync("db.key", 2));
        Assert.Equal("other_version", await agent.RefusalAsync("db.key"));
    }

    [Fact]
    public async Task What_was_released_opens_on_no_other_machine_boot_state_or_time()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await BootTests.BootedAsync(service);
        using var other = new TestAgent(service, "other");
        await agent.AttestWholeAsync();
        await tool.PutAsync("db.key", null, "--node", agent.Id, "--require", "boot");
        var challenge = RandomNumberGenerator.GetBytes(32);
        var released = await agent.ReleasedAsync("db.key", challenge);
        var clock = agent.Tpm.Clock;

        Assert.Throws<CryptographicException>(() => other.Unseal(released)); // its state is another, and its key is
        agent.Tpm.Clock = clock with { ResetCount = clock.ResetCount + 1 };
        Assert.Throws<CryptographicException>(() => agent.Unseal(released));
        agent.Tpm.Clock = clock with { Milliseconds = clock.Milliseconds + 61_000 };
        Assert.Throws<CryptographicException>(() => agent.Unseal(released));
        agent.Tpm.Clock = clock with { Milliseconds = clock.Milliseconds + 30_000 };
        Assert.Equal(64, agent.Unseal(released).Length);
        agent.Tpm.Extend(Keylime.Tpm.TpmAlgorithm.Sha256, 7, new byte[32]);
        Assert.Throws<CryptographicException>(() => agent.Unseal(released));

        // Another challenge is another answer, and each says what it is for.
        var second = await agent.ReleasedAsync("db.key", RandomNumberGenerator.GetBytes(32));
        Assert.NotEqual(released.Key.Public, second.Key.Public);
    }

    [Fact]
    public async Task Every_reason_to_withhold_is_told_kept_and_released_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await BootTests.BootedAsync(service);
        await tool.PutAsync("p", null, "--node", agent.Id, "--require", "boot,runtime", "--pcrs", "0,7");
        await ExpectAsync("no_verdict");
        await agent.AttestWholeAsync();
        Assert.Null(await agent.RefusalAsync("p"));

        await PutAsync("strong", "--require", "identity");
        await ExpectAsync("identity_not_covered", "strong");
        await PutAsync("pcrs", "--require", "boot", "--pcrs", "23");
        await ExpectAsync("pcr_not_proven", "pcrs");
        await PutAsync("short", "--require", "boot", "--expires", "30s");
        await PutAsync("once", "--require", "boot", "--once");
        Assert.Null(await agent.RefusalAsync("once"));
        await ExpectAsync("already_released", "once");
        await PutAsync("split", "--require", "boot", "--split", tool.PathOf("share"));
        await ExpectAsync("no_share", "split");
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, OperatingSystem.IsWindows() ? default : File.GetUnixFileMode(tool.PathOf("share")));

        service.Clock.Advance(TimeSpan.FromSeconds(45));
        await ExpectAsync("expired", "short");
        await PutAsync("fresh", "--require", "boot", "--max-age", "30s");
        await ExpectAsync("verdict_too_old", "fresh");
        service.Clock.Advance(TimeSpan.FromSeconds(80));
        await ExpectAsync("verdict_too_old"); // twice the interval, where nothing is said

        await RevokeAsync("pcrs");
        await ExpectAsync("revoked", "pcrs");

        // It fails: nothing any more, and what it was offered it is offered no more.
        await agent.AuthenticateAsync();
        await agent.MeasureAsync("/opt/unknown");
        Assert.Null(PayloadBench.PayloadsOf(await agent.AttestWholeAsync()));
        await ExpectAsync("node_failed");
        Assert.Empty(await agent.OffersAsync());

        var codes = (await service.Get<IRecordStore<Release>>().AllAsync(Cancel)).GroupBy(static r => r.Code).ToDictionary(static g => g.Key, static g => g.Count());
        Assert.Equal(9, codes.Keys.Count(static c => c != "granted"));
        Assert.Equal(2, codes["granted"]);
        TestContext.Current.SendDiagnosticMessage($"release refusals: {codes.Keys.Count(static c => c != "granted")} reasons over HTTP, each kept in the ledger and told");

        Task PutAsync(string name, params string[] args) => tool.PutAsync(name, null, ["--node", agent.Id, .. args]);

        async Task RevokeAsync(string name) => await tool.DoAsync("payload", "revoke", name);

        async Task ExpectAsync(string code, string name = "p")
        {
            var events = await service.CountEventsAsync("payload.withheld");
            Assert.Equal(code, await agent.RefusalAsync(name));
            Assert.Contains(code, (await ReleasesAsync(service, name)).Select(static r => r["code"]!.GetValue<string>()));
            Assert.Equal(events + 1, await service.CountEventsAsync("payload.withheld"));
            Assert.Equal(code, await agent.RefusalAsync(name)); // asked again in the same minute it is kept once
            Assert.Equal(events + 1, await service.CountEventsAsync("payload.withheld"));
            Assert.Contains(code, await tool.DoAsync("payload", "grants", name), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_vault_that_is_down_throttles_or_lost_the_key_releases_nothing_and_loses_nothing()
    {
        var vault = new FaultyVault();
        await using var service = await TestService.StartAsync(services =>
        {
            var inner = services.Last(static s => s.ServiceType == typeof(IVault));
            services.Replace(ServiceDescriptor.Singleton<IVault>(provider => vault.Around((IVault)inner.ImplementationFactory!(provider))));
        });
        using var tool = new OperatorTool(service);
        using var agent = await BootTests.BootedAsync(service);
        await agent.AttestWholeAsync();
        await tool.PutAsync("p", null, "--node", agent.Id, "--require", "boot", "--once");

        vault.Fault = () => throw new VaultUnavailableException("429", TimeSpan.FromSeconds(7));
        var throttled = await agent.AskForAsync("p", RandomNumberGenerator.GetBytes(32));
        Assert.Equal((HttpStatusCode.ServiceUnavailable, TimeSpan.FromSeconds(7)), (throttled.Status, throttled.RetryAfter));
        vault.Fault = static () => new Unwrapped.NoSuchVersion("it was purged");
        Assert.Equal("key_lost", await agent.RefusalAsync("p"));
        vault.Fault = static () => new Unwrapped.NotWrapped("decryption failed");
        Assert.Equal("key_damaged", await agent.RefusalAsync("p"));
        vault.Fault = static () => new Unwrapped.Key(new byte[16]);
        Assert.Equal("key_damaged", await agent.RefusalAsync("p"));
        vault.Fault = null;
        Assert.Equal(["key_damaged", "key_lost", "vault_unavailable"], (await ReleasesAsync(service, "p")).Select(static r => r["code"]!.GetValue<string>()).Distinct().Order());

        // What was asked in vain was not released: once is still to come, and a rotated key opens what the former version wrapped.
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        await tool.DoAsync("payload", "rotate", "--vault");
        Assert.Equal(PayloadBench.Secret, await agent.FetchAsync("p"));
    }

    [Fact]
    public async Task Payloads_are_for_whom_they_are_meant_and_for_others_they_are_not_there()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var one = await TestAgent.EnrolledAsync(service, "one");
        using var two = await TestAgent.EnrolledAsync(service, "two");
        await one.AttestWholeAsync();
        await two.AttestWholeAsync();
        await tool.DoAsync("node", "update", "one", "--group", "web");
        await tool.PutAsync("of-node", null, "--node", "one", "--require", "runtime");
        await tool.PutAsync("of-group", null, "--group", "web", "--require", "runtime");
        await tool.PutAsync("of-policy", null, "--policy", "two", "--require", "runtime");
        await tool.PutAsync("of-both", null, "--group", "web", "--policy", "two", "--require", "runtime");
        Assert.Equal(["of-group 1 24", "of-node 1 24"], await one.OffersAsync());
        Assert.Equal(["of-policy 1 24"], await two.OffersAsync());
        Assert.Equal(HttpStatusCode.NotFound, (await two.AskForAsync("of-node", new byte[32])).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await one.AskForAsync("of-both", new byte[32])).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await one.AskForAsync("nothing", new byte[32])).Status);

        // The token of one opens nothing of the other, and an operator's none of either.
        using var thief = new TestAgent(service, "two", one.Tpm) { Token = one.Token };
        Assert.Equal(HttpStatusCode.Unauthorized, (await thief.AskForAsync("of-policy", new byte[32])).Status);
        Assert.Contains("granted", await tool.DoAsync("payload", "grants", "of-group"), StringComparison.Ordinal);
        Assert.Equal(PayloadBench.Secret, await one.FetchAsync("of-group"));
    }

    [Fact]
    public async Task A_split_key_takes_both_parts_and_the_operators_is_sealed_to_endorsement_keys_that_it_verified_itself()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await BootTests.BootedAsync(service);
        await agent.AttestWholeAsync();
        await tool.PutAsync("split", null, "--node", agent.Id, "--require", "boot", "--share-file", tool.PathOf("share"));
        var root = tool.PathOf("root.pem");
        await File.WriteAllTextAsync(root, TestCertificates.Root.ExportCertificatePem(), Cancel);
        var (exit, said, _) = await tool.RunAsync("payload", "share", "split", "--share-file", tool.PathOf("share"), "--trust", root);
        Assert.NotEqual(0, exit);
        Assert.Contains("not sealed: its TPM has no endorsement certificate", said, StringComparison.Ordinal);
        Assert.Equal("no_share", await agent.RefusalAsync("split"));

        agent.EndorsementCertificate = TestCertificates.Issue(agent.Tpm.EndorsementKey).ExportCertificatePem();
        await agent.RegisterAsync();
        Assert.Contains("booted: sealed", await tool.DoAsync("payload", "share", "split", "--share-file", tool.PathOf("share"), "--trust", root), StringComparison.Ordinal);
        var released = await agent.ReleasedAsync("split", RandomNumberGenerator.GetBytes(32));
        Assert.NotNull(released.Share);
        var ciphertext = await agent.CiphertextAsync(released);
        var ofVault = agent.Unseal(released)[..32];
        await Assert.ThrowsAsync<Protocol.Payloads.PayloadFormatException>(() => PayloadBench.OpenAsync(ciphertext, ofVault));
        var ofOperator = await File.ReadAllBytesAsync(tool.PathOf("share"), Cancel);
        Assert.Equal(PayloadBench.Secret, await PayloadBench.OpenAsync(ciphertext, [.. ofVault.Zip(ofOperator, static (a, b) => (byte)(a ^ b))]));
    }

    [Theory]
    [InlineData("../x", "{}", 404)] // no route has such a path
    [InlineData(".hidden", "{}", 400)]
    [InlineData("p", """{"size":-1}""", 400)]
    [InlineData("p", """{"size":2000000000}""", 400)]
    [InlineData("p", """{"parts":[]}""", 400)]
    [InlineData("p", """{"parts":[{"digest":"00","size":116}]}""", 400)]
    [InlineData("p", """{"parts":[{"digest":"0000000000000000000000000000000000000000000000000000000000000000","size":116}]}""", 400)]
    [InlineData("p", """{"wrappedKey":"AAAA"}""", 400)]
    [InlineData("p", """{"keyVersion":""}""", 400)]
    [InlineData("p", """{"for":{}}""", 400)]
    [InlineData("p", """{"for":{"nodes":[]}}""", 400)]
    [InlineData("p", """{"for":{"group":"a/b"}}""", 400)]
    [InlineData("p", """{"terms":{"require":[]}}""", 400)]
    [InlineData("p", """{"terms":{"require":["luck"]}}""", 400)]
    [InlineData("p", """{"terms":{"pcrs":[]}}""", 400)]
    [InlineData("p", """{"terms":{"pcrs":[24]}}""", 400)]
    [InlineData("p", """{"terms":{"pcrs":[7,7]}}""", 400)]
    [InlineData("p", """{"terms":{"maxAgeSeconds":0}}""", 400)]
    [InlineData("p", """{"terms":{"expiresAt":"2020-01-01T00:00:00Z"}}""", 400)]
    [InlineData("p", """{"surprise":1}""", 400)]
    public async Task What_no_payload_is_is_refused_in_words_and_nothing_is_kept(string name, string alter, int status)
    {
        await using var service = await TestService.StartAsync();
        var ciphertext = new byte[Protocol.Payloads.PayloadCipher.SealedLength(0)];
        var digest = Convert.ToHexStringLower(SHA256.HashData(ciphertext));
        Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("PUT", $"/v1/payload-parts/{digest}", "other"u8.ToArray(), "application/octet-stream")).Status);
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("PUT", $"/v1/payload-parts/{digest}", ciphertext, "application/octet-stream")).Status);
        var put = new JsonObject
        {
            ["size"] = 0,
            ["parts"] = new JsonArray(new JsonObject { ["digest"] = digest, ["size"] = ciphertext.Length }),
            ["keyVersion"] = "v",
            ["wrappedKey"] = Convert.ToBase64String(new byte[384]),
            ["for"] = new JsonObject { ["group"] = "g" },
        };
        foreach (var (member, value) in JsonNode.Parse(alter)!.AsObject())
            put[member] = value!.DeepClone();
        var reply = await service.Operator.SendAsync("PUT", $"/v1/payloads/{name}", put);
        Assert.Equal(status, (int)reply.Status);
        Assert.NotEmpty(reply.Json["detail"]!.GetValue<string>());
        Assert.Empty(await service.Get<IRecordStore<Payload>>().AllAsync(Cancel));
    }

    [Fact]
    public async Task An_agent_that_asks_without_end_is_limited_and_the_same_put_is_one_put()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestWholeAsync();
        await tool.PutAsync("p", null, "--node", "node", "--require", "runtime");
        for (var i = 0; i < Hosting.RateLimits.ReleasesPerAgent; i++)
            Assert.Null(await agent.RefusalAsync("p"));
        Assert.Equal(HttpStatusCode.TooManyRequests, (await agent.AskForAsync("p", new byte[32])).Status);
        Assert.Equal(Hosting.RateLimits.ReleasesPerAgent, (await ReleasesAsync(service, "p")).Length);

        var known = (await service.Get<IRecordStore<Payload>>().FindAsync("p", Cancel))!.Value;
        var put = new JsonObject
        {
            ["size"] = known.Size,
            ["parts"] = new JsonArray([.. known.Parts.Select(static p => (JsonNode)new JsonObject { ["digest"] = p.Digest, ["size"] = p.Size })]),
            ["keyVersion"] = known.KeyVersion,
            ["wrappedKey"] = Convert.ToBase64String(known.WrappedKey.Span),
            ["for"] = new JsonObject { ["nodes"] = new JsonArray("node") },
            ["terms"] = new JsonObject { ["require"] = new JsonArray("runtime") },
        };
        Assert.Equal(1, (await service.Operator.SendAsync("PUT", "/v1/payloads/p", put)).Expect(HttpStatusCode.OK)["version"]!.GetValue<int>());
        put["for"] = new JsonObject { ["group"] = "g" }; // the same key for others is another one
        Assert.Equal(2, (await service.Operator.SendAsync("PUT", "/v1/payloads/p", put)).Expect(HttpStatusCode.OK)["version"]!.GetValue<int>());
    }

    [Fact]
    public async Task A_part_that_the_store_lost_and_a_report_of_nothing_are_said_to_be_so()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestWholeAsync();
        await tool.PutAsync("p", new byte[5 * 1024 * 1024], "--node", "node", "--require", "runtime");
        var released = await agent.ReleasedAsync("p", new byte[32]);
        Assert.Equal(2, released.Parts.Count);
        Assert.Equal(new byte[5 * 1024 * 1024], await agent.FetchAsync("p"));
        File.Delete(Path.Combine(service.Folder, "blobs", released.Parts[1].Digest));
        const string path = "/v3.0/agents/node/payloads/p";
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Anonymous.SendAsync("GET", $"{path}/versions/1/parts/1", token: agent.Token)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await service.Anonymous.SendAsync("GET", $"{path}/versions/1/parts/2", token: agent.Token)).Status);
        Assert.Equal(HttpStatusCode.Conflict, (await service.Anonymous.SendAsync("GET", $"{path}/versions/2/parts/0", token: agent.Token)).Status);
        Assert.Equal(HttpStatusCode.NotFound, (await ReportAsync("0-none", "written")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await ReportAsync("../x", "written")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await ReportAsync(released.Release, "eaten")).Status);
        Assert.Equal(HttpStatusCode.BadRequest, (await agent.AskForAsync("p", new byte[31])).Status);

        Task<Reply> ReportAsync(string release, string outcome) =>
            service.Anonymous.SendAsync("POST", path + "/report", new JsonObject { ["version"] = 1, ["release"] = release, ["outcome"] = outcome }, token: agent.Token);
    }

    private static async Task<JsonNode[]> ReleasesAsync(TestService service, string name) =>
        [.. (await service.Operator.SendAsync("GET", $"/v1/payloads/{name}/releases?limit=1000")).Expect(HttpStatusCode.OK)["releases"]!.AsArray().Select(static r => r!)];

    /// <summary>The vault, with whatever goes wrong with one.</summary>
    private sealed class FaultyVault : IVault
    {
        private IVault? _inner;

        public Func<Unwrapped>? Fault { get; set; }

        public FaultyVault Around(IVault inner)
        {
            _inner = inner;
            return this;
        }

        public Task<VaultKey> WrappingKeyAsync(CancellationToken cancel) => _inner!.WrappingKeyAsync(cancel);

        public Task<Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel) =>
            Fault is { } fault ? Task.FromResult(fault()) : _inner!.UnwrapAsync(version, wrapped, cancel);

        public Task<VaultKey> RotateWrappingKeyAsync(CancellationToken cancel) => _inner!.RotateWrappingKeyAsync(cancel);

        public Task<VaultKey> SigningKeyAsync(CancellationToken cancel) => _inner!.SigningKeyAsync(cancel);

        public Task<VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel) => _inner!.SignAsync(data, cancel);
    }
}

using System.Net;
using System.Text.RegularExpressions;
using Keylime.Attestation;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Functions.Telemetry;
using Keylime.Functions.Verifier;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>What is counted and measured, after things that really happened.</summary>
public sealed partial class MetricsTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Attestations_and_sessions_are_counted_by_what_became_of_them()
    {
        var broken = false;
        await using var service = await TestService.StartAsync(services => services.Replace(ServiceDescriptor.Singleton<Appraiser>(
            (request, evidence) => broken ? throw new InvalidOperationException("a bug") : Appraisal.Appraise(request, evidence))));
        using var read = new MeterReadings(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await AttestAsync("pass");
        await AttestAsync("fail", c => c with { Signature = [.. c.Signature[..^1], (byte)(c.Signature[^1] ^ 1)] });
        await agent.MeasureAsync("/usr/bin/miner");
        await AttestAsync("fail");
        broken = true;
        await AttestAsync("fail");
        broken = false;
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await agent.OpenSessionAsync();
        Assert.Equal(HttpStatusCode.Unauthorized, (await agent.ProveAsync(session, agent.Proof([.. challenge.Reverse()]))).Status);

        Assert.Equal(1, read["keylime.attestations{pass,none}"]);
        Assert.Equal(1, read["keylime.attestations{fail,quote}"]);
        Assert.Equal(1, read["keylime.attestations{fail,ima}"]);
        Assert.Equal(1, read["keylime.attestations{error,internal}"]);
        Assert.Equal(1, read["keylime.attestation.duration{pass}"]);
        Assert.Equal(3, read["keylime.attestation.duration{fail}"]);
        Assert.Equal((6.0, 5.0, 1.0), (read["keylime.sessions{opened}"], read["keylime.sessions{proven}"], read["keylime.sessions{refused}"]));

        async Task AttestAsync(string expected, Func<Collected, Collected>? alter = null)
        {
            service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
            await agent.AuthenticateAsync();
            Assert.Equal(expected, (await agent.AttestAsync(alter))["evaluation"]!.GetValue<string>());
        }
    }

    [Fact]
    public async Task Evidence_that_a_broken_store_kept_from_being_judged_is_an_error_and_the_nonce_is_still_good()
    {
        var broken = false;
        await using var service = await TestService.StartAsync(services =>
        {
            var inner = services.Last(static s => s.ServiceType == typeof(IBlobStore));
            services.Replace(ServiceDescriptor.Singleton<IBlobStore>(p => new Breakable((IBlobStore)inner.ImplementationFactory!(p), () => broken)));
        });
        using var read = new MeterReadings(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await agent.MeasureAsync("/usr/bin/tool1");
        var asked = await agent.AskedAsync();
        broken = true;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await agent.SubmitAsync(asked, agent.Collect(asked))).Status);
        broken = false;
        Assert.Equal(HttpStatusCode.Accepted, (await agent.SubmitAsync(asked, agent.Collect(asked))).Status);
        Assert.Equal((2.0, 1.0), (read["keylime.attestations{pass,none}"], read["keylime.attestations{error,store}"]));
    }

    [Fact]
    public async Task The_fleet_is_counted_at_a_pace_and_what_is_not_known_is_not_reported()
    {
        await using var receiver = await HookServer.StartAsync(500, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority] });
        await service.Get<Sweep>().StopAsync(Cancel); // its timer: here it is said when it sweeps
        using var read = new MeterReadings(service);
        Assert.DoesNotContain(read.All.Keys, static k => k.StartsWith("keylime.nodes", StringComparison.Ordinal) || k.StartsWith("keylime.outbox", StringComparison.Ordinal));
        using var first = await TestAgent.EnrolledAsync(service, "first");
        await first.AttestAsync();
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        await service.HappenAsync("first", EventTypes.NodeFailed);
        await service.HappenAsync("second", EventTypes.NodeFailed);
        service.Clock.Advance(TimeSpan.FromSeconds(10));
        using var second = await TestAgent.EnrolledAsync(service, "second");
        await second.MeasureAsync("/usr/bin/miner");
        await second.AttestAsync();
        using var third = new TestAgent(service, "third");
        await third.RegisterAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(130));
        Assert.True(await service.SweepAsync());
        Assert.Equal((1.0, 1.0, 1.0, 0.0), (Nodes("late"), Nodes("failed"), Nodes("pending"), Nodes("trusted")));
        Assert.Equal(140, read["keylime.nodes.oldest_proof"]);
        Assert.True(read["keylime.outbox.deliveries"] is >= 2, $"{read["keylime.outbox.deliveries"]}"); // the second's own failure too
        Assert.Equal(140, read["keylime.outbox.oldest"]);
        Assert.Equal(0, read["keylime.sweep.lag"]);

        // The count stays for five minutes, and ages grow.
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        await first.AuthenticateAsync();
        await first.AttestAsync();
        Assert.True(await service.SweepAsync());
        Assert.Equal((1.0, 200.0), (Nodes("late"), read["keylime.nodes.oldest_proof"]));

        // Another one sweeps too, knows what was counted here, and counts when it is time; a process that has not swept yet knows nothing.
        service.Clock.Advance(TimeSpan.FromMinutes(5));
        await service.Get<FleetCount>().RunAsync(Cancel);
        Assert.Equal((0.0, 1.0, 1.0), (Nodes("late"), Nodes("silent"), Nodes("failed")));
        await using (var other = await TestService.StartAsync(folder: service.Folder, clock: service.Clock))
        {
            using var there = new MeterReadings(other);
            Assert.Equal(double.NaN, there["keylime.nodes{silent}"]);
            await other.Get<FleetCount>().RunAsync(Cancel);
            Assert.Equal(1, there["keylime.nodes{silent}"]);
        }

        // What nobody counts any more is no news.
        service.Clock.Advance(TimeSpan.FromMinutes(13));
        Assert.Equal(double.NaN, Nodes("silent"));
        Assert.True(read["keylime.sweep.lag"] >= 13 * 60, $"{read["keylime.sweep.lag"]}");

        double Nodes(string state) => read[$"keylime.nodes{{{state}}}"];
    }

    [Fact]
    public async Task Deliveries_releases_and_calls_of_the_vault_are_counted_by_result()
    {
        var answer = 500;
        await using var receiver = await HookServer.StartAsync(context =>
        {
            context.Response.StatusCode = answer;
            return Task.CompletedTask;
        });
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority] });
        using var read = new MeterReadings(service);
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestWholeAsync();
        await tool.PutAsync("db.key", null, "--node", agent.Id, "--require", "runtime");
        Assert.Equal(PayloadBench.Secret, await agent.FetchAsync("db.key"));
        await tool.DoAsync("payload", "revoke", "db.key");
        Assert.Equal("revoked", await agent.RefusalAsync("db.key"));
        Assert.Equal((1.0, 1.0), (read["keylime.payload.releases{granted,granted}"], read["keylime.payload.releases{withheld,revoked}"]));
        Assert.Equal(1, read["keylime.vault.calls{unwrap,ok}"]);
        Assert.Equal(1, read["keylime.vault.calls{get_wrapping_key,ok}"]);
        await Assert.ThrowsAsync<Keys.VaultUnavailableException>(async () => await new WatchedVault(new NoVault(), service.Get<Instruments>()).UnwrapAsync("1", default, Cancel));
        Assert.Equal(1, read["keylime.vault.calls{unwrap,unavailable}"]);

        await service.PutWebhookAsync("w", receiver, """{"events":["node.returned"]}""");
        await service.HappenAsync("x", EventTypes.NodeReturned);
        await service.DeliverAsync();
        Assert.Equal(1, read["keylime.deliveries{failed}"]);
        answer = 200;
        service.Clock.Advance(TimeSpan.FromMinutes(2));
        await service.DeliverAsync();
        Assert.Equal(1, read["keylime.deliveries{delivered}"]);
        answer = 410;
        await service.HappenAsync("x", EventTypes.NodeReturned, 2);
        await service.DeliverAsync();
        Assert.Equal(1, read["keylime.deliveries{dead}"]);
        Assert.Equal((1.0, 1.0), (read["keylime.deliveries{failed}"], read["keylime.deliveries{delivered}"]));
    }

    [Fact]
    public async Task Stores_that_have_too_much_to_do_are_counted()
    {
        await using var service = await TestService.StartAsync();
        using var read = new MeterReadings(service);
        var answers = new Queue<HttpStatusCode>([HttpStatusCode.ServiceUnavailable, HttpStatusCode.TooManyRequests, HttpStatusCode.NotFound]);
        using var scripted = new Scripted(answers);
        using var client = new HttpClient(scripted);
        var account = AzureAccounts.FromConnectionString("UseDevelopmentStorage=true", options =>
        {
            options.Transport = new Azure.Core.Pipeline.HttpClientTransport(client);
            StoreServices.Watch(options, service.Get<Instruments>());
        });
        Assert.Null(await account.Table(AzureAccounts.Nodes).FindAsync("a", "b", Cancel));
        Assert.Empty(answers);
        Assert.Equal((1.0, 1.0, 2.0), (read["keylime.store.throttles{503}"], read["keylime.store.throttles{429}"], read["keylime.store.retries"]));

        // Of SQLite: another process that keeps the file.
        var busy = 0;
        using var database = Storage.Sqlite.SqliteDatabase.Open(Path.Combine(service.Folder, "other.db"), () => busy++);
        await Assert.ThrowsAsync<StorageUnavailableException>(() => database.ReadAsync<int>(static _ => throw new Microsoft.Data.Sqlite.SqliteException("database is locked", 5), Cancel));
        await Assert.ThrowsAsync<StorageUnavailableException>(() => database.ReadAsync<int>(static _ => throw new Microsoft.Data.Sqlite.SqliteException("no such table", 1), Cancel));
        Assert.Equal(1, busy);
    }

    [Fact]
    public async Task Prometheus_scrapes_with_a_readers_token_and_no_label_names_a_machine()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node-with-a-name");
        await agent.AttestAsync();
        Assert.True(await service.SweepAsync());
        Assert.Equal(HttpStatusCode.Unauthorized, (await service.Anonymous.SendAsync("GET", "/metrics")).Status);
        Assert.Equal(HttpStatusCode.Unauthorized, (await service.Anonymous.SendAsync("GET", "/metrics", token: agent.Token)).Status);
        var reply = await service.Anonymous.SendAsync("GET", "/metrics", token: service.TokenOf("auditor"));
        Assert.Equal((HttpStatusCode.OK, "text/plain"), (reply.Status, reply.ContentType));

        // https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
        var samples = new Dictionary<string, double>();
        foreach (var line in reply.Text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.StartsWith('#'))
                continue;
            var sample = Sample().Match(line);
            Assert.True(sample.Success, line);
            samples.Add(sample.Groups[1].Value, double.Parse(sample.Groups[2].Value, System.Globalization.CultureInfo.InvariantCulture));
        }

        Assert.Contains("# TYPE keylime_attestations_total counter", reply.Text, StringComparison.Ordinal);
        Assert.Equal(1, Of("keylime_attestations_total", "keylime_outcome=\"pass\"", "keylime_cause=\"none\""));
        Assert.Equal(1, Of("keylime_nodes", "keylime_node_state=\"trusted\""));
        Assert.Equal(1, Of("keylime_attestation_duration_seconds_count", "keylime_outcome=\"pass\""));
        Assert.Equal(1, Of("keylime_attestation_duration_seconds_bucket", "le=\"0.0025\"")); // our own bounds
        Assert.True(Of("http_server_request_duration_seconds_count", "http_route=\"/v3.0/agents/{id}/attestations/{number}\"", "http_response_status_code=\"202\"") >= 1);
        Assert.DoesNotContain("node-with-a-name", reply.Text, StringComparison.Ordinal);

        await using var hosted = await TestService.StartAsync(configure: static o => o with { HandlerPort = 0 });
        Assert.Equal(HttpStatusCode.NotFound, (await hosted.Anonymous.SendAsync("GET", "/metrics")).Status);

        double Of(string name, params string[] labels) =>
            samples.Single(s => s.Key.StartsWith(name + "{", StringComparison.Ordinal) && labels.All(l => s.Key.Contains(l, StringComparison.Ordinal))).Value;
    }

    [GeneratedRegex("""^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})?) (NaN|[+-]Inf|[-+0-9.e]+)(?: [0-9]+)?$""")]
    private static partial Regex Sample();

    private sealed class Breakable(IBlobStore inner, Func<bool> broken) : IBlobStore
    {
        public Task<string> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancel) =>
            broken() ? throw new StorageUnavailableException("It does not answer.") : inner.PutAsync(content, cancel);

        public Task<ReadOnlyMemory<byte>?> FindAsync(string digest, CancellationToken cancel) => inner.FindAsync(digest, cancel);

        public Task<ReadOnlyMemory<byte>?> MapAsync(string digest, CancellationToken cancel) => inner.MapAsync(digest, cancel);
    }

    private sealed class Scripted(Queue<HttpStatusCode> answers) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            Task.FromResult(new HttpResponseMessage(answers.Dequeue()) { RequestMessage = request, Content = new ByteArrayContent([]) });
    }

    private sealed class NoVault : Keys.IVault
    {
        public Task<Keys.VaultKey> WrappingKeyAsync(CancellationToken cancel) => throw new Keys.VaultUnavailableException("gone");

        public Task<Keys.Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel) => throw new Keys.VaultUnavailableException("gone");

        public Task<Keys.VaultKey> RotateWrappingKeyAsync(CancellationToken cancel) => throw new Keys.VaultUnavailableException("gone");

        public Task<Keys.VaultKey> SigningKeyAsync(CancellationToken cancel) => throw new Keys.VaultUnavailableException("gone");

        public Task<Keys.VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel) => throw new Keys.VaultUnavailableException("gone");
    }
}

using System.Collections.Concurrent;
using System.Diagnostics;
using Keylime.Functions.Telemetry;
using OpenTelemetry.Trace;

namespace Keylime.Functions.Tests;

/// <summary>Spans through a request, its stores and the vault; what they say, and what they cost where nobody wants them.</summary>
public sealed class TraceTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_trace_goes_on_through_request_store_and_vault_and_names_nobody()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node-with-a-name");
        var (trace, host) = (ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom());
        var spans = new ConcurrentQueue<Activity>();
        using var listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name is Traces.Name or "Microsoft.AspNetCore",
            Sample = (ref ActivityCreationOptions<ActivityContext> options) => options.TraceId == trace ? ActivitySamplingResult.AllDataAndRecorded : ActivitySamplingResult.None,
            ActivityStopped = spans.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        await tool.PutAsync("db.key", null, "--node", agent.Id, "--require", "runtime");
        service.Anonymous.DefaultRequestHeaders.Add("traceparent", $"00-{trace}-{host}-00"); // as the Functions host sends it
        await agent.AttestWholeAsync();
        await agent.AskForAsync("db.key", new byte[32]);
        (await service.Anonymous.SendAsync("GET", "/v1/nodes/../../etc/passwd?token=secret")).Status.ToString();

        Assert.All(spans, span => Assert.Equal(trace, span.TraceId));
        var requests = spans.Where(static s => s.Kind == ActivityKind.Server).ToList();
        var submit = Assert.Single(requests, static s => s.DisplayName == "PATCH /v3.0/agents/{id}/attestations/{number}");
        Assert.Equal((host, "202", "/v3.0/agents/{id}/attestations/{number}"), (submit.ParentSpanId, $"{submit.GetTagItem("http.response.status_code")}", submit.GetTagItem("http.route")));
        var below = spans.Where(s => s.ParentSpanId == submit.SpanId).ToList();
        Assert.Contains(below, static s => s.DisplayName == "judge");
        foreach (var name in (string[])["find nodes", "add verdicts", "replace nodes"])
        {
            var span = Assert.Single(below, s => s.DisplayName == name);
            Assert.Equal(("sqlite", name), (span.GetTagItem("db.system.name"), $"{span.GetTagItem("db.operation.name")} {span.GetTagItem("db.collection.name")}"));
        }

        Assert.Contains(spans, s => s.DisplayName == "add blobs" && s.ParentSpanId == Assert.Single(below, static j => j.DisplayName == "judge").SpanId);
        var release = Assert.Single(requests, static s => s.DisplayName == "POST /v3.0/agents/{id}/payloads/{name}/release");
        var unwrap = Assert.Single(spans, static s => s.DisplayName == "vault unwrap");
        Assert.Equal((release.SpanId, "ok"), (unwrap.ParentSpanId, unwrap.GetTagItem("keylime.vault.result")));

        // Nothing in any span names the machine, its token or a path.
        var all = string.Join('\n', spans.SelectMany(static s => s.TagObjects.Select(static t => $"{t.Key}={t.Value}").Append(s.DisplayName).Append(s.StatusDescription ?? "")));
        foreach (var word in (string[])["node-with-a-name", agent.Token!, agent.Token!.Split('.')[1], "passwd", "secret", "db.key"])
            Assert.DoesNotContain(word, all, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_store_that_fails_marks_its_span_by_the_kind_of_failure_and_not_by_its_words()
    {
        var spans = new ConcurrentQueue<Activity>();
        var trace = ActivityTraceId.CreateRandom();
        using var listener = new ActivityListener
        {
            ShouldListenTo = static source => source.Name == Traces.Name,
            Sample = (ref ActivityCreationOptions<ActivityContext> options) => options.TraceId == trace ? ActivitySamplingResult.AllDataAndRecorded : ActivitySamplingResult.None,
            ActivityStopped = spans.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        using var parent = Traces.Source.StartActivity("test", ActivityKind.Internal, new ActivityContext(trace, ActivitySpanId.CreateRandom(), ActivityTraceFlags.None));
        Assert.NotNull(parent);
        await Assert.ThrowsAsync<Storage.StorageUnavailableException>(() => new StoreSpans("sqlite", "nodes").RunAsync<int, int>("find", 0, static _ => throw new Storage.StorageUnavailableException("AccountKey=x")));
        await Assert.ThrowsAsync<Storage.StorageUnavailableException>(() => new StoreSpans("sqlite", "nodes").RunAsync("add", 0, static Task (_) => throw new Storage.StorageUnavailableException("AccountKey=x")));
        Assert.Equal(["find nodes", "add nodes"], spans.Select(static s => s.DisplayName));
        Assert.All(spans, static s => Assert.Equal((ActivityStatusCode.Error, null, "StorageUnavailableException"), (s.Status, s.StatusDescription, s.GetTagItem("error.type"))));
        Assert.Equal(parent.SpanId, Activity.Current?.SpanId); // what went by is not in the way of what comes
    }

    [Fact]
    public void Where_no_trace_is_kept_an_operation_of_a_store_allocates_nothing()
    {
        var spans = new StoreSpans("sqlite", "nodes");
        var done = Task.FromResult(true);
        Run(1000); // whatever the runtime does at first
        var before = GC.GetAllocatedBytesForCurrentThread();
        Run(1000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void Run(int times)
        {
            for (var i = 0; i < times; i++)
                _ = spans.RunAsync("find", (done, i, CancellationToken.None), static s => s.done);
        }
    }

    [Fact]
    public void Chance_decides_which_traces_are_kept_and_not_who_calls()
    {
        var (all, none, some) = (new TraceSampler(1), new TraceSampler(0), new TraceSampler(0.25));
        var remote = new ActivityContext(ActivityTraceId.CreateFromString("00000000000000000000000000000001"), ActivitySpanId.CreateRandom(), ActivityTraceFlags.Recorded, isRemote: true);
        Assert.Equal(SamplingDecision.RecordAndSample, Decide(all, default));
        Assert.Equal(SamplingDecision.Drop, Decide(none, default));
        Assert.Equal(SamplingDecision.Drop, Decide(none, remote)); // it says that it is recorded, and has the least id there is
        var kept = Enumerable.Range(0, 20_000).Count(_ => Decide(some, remote) == SamplingDecision.RecordAndSample);
        Assert.InRange(kept, 4_500, 5_500); // more than eight standard deviations to both sides

        // What is a part of a trace here goes as its beginning went.
        foreach (var flags in (ActivityTraceFlags[])[ActivityTraceFlags.Recorded, ActivityTraceFlags.None])
        {
            var here = new ActivityContext(ActivityTraceId.CreateRandom(), ActivitySpanId.CreateRandom(), flags);
            Assert.All((TraceSampler[])[all, none, some], sampler => Assert.Equal(flags == ActivityTraceFlags.Recorded, Decide(sampler, here) == SamplingDecision.RecordAndSample));
        }

        static SamplingDecision Decide(TraceSampler sampler, ActivityContext parent) =>
            sampler.ShouldSample(new SamplingParameters(parent, parent.TraceId == default ? ActivityTraceId.CreateRandom() : parent.TraceId, "x", ActivityKind.Server)).Decision;
    }
}

using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Keylime.Demo;
using Keylime.Testing;

namespace Keylime.EndToEnd.Tests;

/// <summary>
/// Three processes of the service at one store, which are killed at random and started again for a minute, while agents attest and operators work at whichever of them is there. Then the books are compared:
/// what was answered is there, what happened was told, and nothing was told by two.
/// </summary>
public sealed partial class InstancesTests : IAsyncLifetime
{
    private const int Interval = 3;
    private const int Attesting = 4;
    private const int Mute = 3;
    private const int AnswerMilliseconds = 120; // so that something is on its way most of the time
    private static readonly TimeSpan Killing = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Succession = TimeSpan.FromSeconds(120); // a lease and a look, on a machine that is busy
    private static readonly TimeSpan Settled = TimeSpan.FromSeconds(180);

    private readonly string _folder = Directory.CreateTempSubdirectory("instances-").FullName;
    private readonly List<Instance> _instances = [];
    private readonly List<RoamingAgent> _agents = [];
    private Programs _programs = null!; // InitializeAsync
    private Azurite _azurite = null!;
    private Receiver _receiver = null!;
    private TaskCompletionSource _arrival = new(); // of the next message at the receiver
    private string _token = "";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private IReadOnlyList<HttpClient> Running => [.. _instances.Select(static i => i.Client).OfType<HttpClient>()];

    public async ValueTask InitializeAsync()
    {
        _programs = new Programs(_folder);
        _receiver = Receiver.Start(_ =>
        {
            Interlocked.Exchange(ref _arrival, new TaskCompletionSource()).TrySetResult();
            Thread.Sleep(AnswerMilliseconds);
        });
        _azurite = await Azurite.StartAsync(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "tests", "azurite"), Cancel);
        await File.WriteAllLinesAsync(Path.Combine(_folder, "connections"), _azurite.NewAccounts(2), Cancel);

        // When runs of timers begin and end: what else of the service is written at that level would be much.
        await File.WriteAllTextAsync(Path.Combine(_folder, "appsettings.json"), """{"Logging":{"LogLevel":{"Keylime.Functions.Verifier.Sweep":"Debug","Keylime.Functions.Notifications.DeliveryRepair":"Debug"}}}""", Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await _programs.DisposeAsync();
        foreach (var log in Directory.EnumerateFiles(_folder, "*.log").Order(StringComparer.Ordinal))
            TestContext.Current.TestOutputHelper?.WriteLine($"{Path.GetFileName(log)}: {string.Join('\n', File.ReadLines(log).TakeLast(4))}"); // shown where the test fails
        foreach (var instance in _instances)
            instance.Dispose();
        foreach (var agent in _agents)
            agent.Dispose();
        await _receiver.DisposeAsync();
        await _azurite.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Three_that_are_killed_at_random_lose_nothing_and_do_nothing_twice()
    {
        var seed = RandomNumberGenerator.GetInt32(int.MaxValue);
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        await StartAsync();
        await EnrolAsync(seed);

        var (over, made) = (false, new ConcurrentDictionary<string, bool>());
        var working = _agents.Take(Attesting).Select(a => Task.Run(() => a.AttestAsync(() => !Volatile.Read(ref over)), Cancel)).Append(Task.Run(() => OperateAsync(seed, made, () => !Volatile.Read(ref over)), Cancel)).ToArray();
        await KillAsync(seed);
        var calm = TimeProvider.System.GetUtcNow();

        // Somebody follows whoever led, and sweeps; and all that waits is delivered, while work goes on.
        await WaitAsync("a sweep after the last death", Succession, () => Task.FromResult(Runs("sweep").Any(r => r.Begin > calm && r.End < DateTimeOffset.MaxValue)));
        Volatile.Write(ref over, true);
        await Task.WhenAll(working);
        var (accepted, kept) = await CheckHistoryAsync(); // who looks at a node tells what a death left untold
        await WaitAsync("nothing waits for the receiver", Settled, async () => (await GetAsync("/v1/webhooks/w/pending"))["deliveries"]!.AsArray().Count == 0);

        var deaths = _instances.SelectMany(static i => i.Deaths).Order().ToArray();
        var (told, copies) = await CheckDeliveriesAsync(made, deaths);
        var silent = await CheckSilenceAsync();
        var (runs, terms) = CheckTimers();
        TestContext.Current.SendDiagnosticMessage(string.Create(CultureInfo.InvariantCulture,
            $"instances: 3 processes, {deaths.Length} killed (seed {seed}); {accepted} attestations accepted, {kept} in the history, 0 lost; {told} events told, {copies} of them twice by a death in between, 0 lost; {silent} silences told once; {runs} runs of timers in {terms} terms, 0 at once"));
    }

    private async Task StartAsync()
    {
        string[] options = ["--interval", $"{Interval}", "--azure-connections", Path.Combine(_folder, "connections"), "--accept-identity", "ek-key", "--allow-outbound", new Uri(_receiver.Url).Authority];
        _instances.AddRange(Enumerable.Range(1, 3).Select(i => new Instance(_programs, _folder, $"instance-{i}", options)));
        await _instances[0].StartAsync(Cancel);
        _token = (await File.ReadAllTextAsync(Path.Combine(_instances[0].Data, "operator.token"), Cancel)).Trim();
        var put = await Wire.SendAsync(_instances[0].Client!, "PUT", "/v1/webhooks/w", new JsonObject { ["url"] = _receiver.Url, ["events"] = new JsonArray("node.*", "token.created") }, Wire.Json, _token, Cancel);
        _receiver.Secret = put.Expect(HttpStatusCode.OK)["webhook"]!["secret"]!.GetValue<string>();

        // Beside the store they share the key ring, for sessions and secrets, and the authority, for whoever comes to any of them (docs/operating.md).
        foreach (var other in _instances[1..])
        {
            const UnixFileMode own = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
            Directory.CreateDirectory(other.Data, own);
            Directory.CreateDirectory(Path.Combine(other.Data, "keys"), own);
            foreach (var shared in Directory.EnumerateFiles(Path.Combine(_instances[0].Data, "keys")).Concat([Path.Combine(_instances[0].Data, "ca.pem"), Path.Combine(_instances[0].Data, "ca.key")]))
                File.Copy(shared, Path.Combine(other.Data, Path.GetRelativePath(_instances[0].Data, shared)));
            await other.StartAsync(Cancel);
        }
    }

    // The last ones attest once, and then never again.
    private async Task EnrolAsync(int seed)
    {
        for (var i = 0; i < Attesting + Mute; i++)
        {
            var agent = new RoamingAgent($"node-{i}", seed + i, () => Running, Cancel);
            _agents.Add(agent);
            await agent.Ima.StartAsync(Cancel);
            for (var file = 0; file < 20; file++)
                await agent.MeasureAsync($"/usr/bin/tool{file}");
            await agent.RegisterAsync();
            (await DoAsync("PUT", $"/v1/policies/{agent.Id}", agent.Policy())).Expect(HttpStatusCode.Created);
            (await DoAsync("PUT", $"/v1/nodes/{agent.Id}", new JsonObject { ["runtimePolicy"] = agent.Id })).Expect(HttpStatusCode.Created);
            if (i >= Attesting)
                await agent.AttestAsync(() => agent.Accepted.Count == 0);
        }
    }

    /// <summary>An operator's work, at whichever instance: each piece an event.</summary>
    private async Task OperateAsync(int seed, ConcurrentDictionary<string, bool> made, Func<bool> goesOn)
    {
        var random = new Random(seed ^ 1);
        for (var i = 0; goesOn(); i++)
        {
            var name = $"token-{i}";
            try
            {
                if (Running is { Count: > 0 } running)
                    made[name] = (await Wire.SendAsync(running[random.Next(running.Count)], "POST", "/v1/tokens", new JsonObject { ["name"] = name, ["role"] = "auditor" }, Wire.Json, _token, Cancel)).Status == HttpStatusCode.Created;
            }
            catch (Exception e) when (e is HttpRequestException or IOException || (e is TaskCanceledException && !Cancel.IsCancellationRequested))
            {
                // whether it arrived nobody knows
            }

            await Task.Delay(random.Next(100, 500), Cancel);
        }
    }

    // First the one that leads, so that somebody has to follow it; then each at its own times.
    private async Task KillAsync(int seed)
    {
        await WaitAsync("somebody leads", Succession, () => Task.FromResult(Leading is not null));
        var leader = Leading;
        await Task.WhenAll(_instances.Select((instance, i) => KillAsync(instance, new Random(seed + i), instance == leader)));
    }

    private async Task KillAsync(Instance instance, Random random, bool atOnce)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (TimeProvider.System.GetElapsedTime(start) < Killing)
        {
            if (!atOnce)
                await Task.Delay(random.Next(1000, 8000), Cancel);
            atOnce = false;
            if (random.Next(2) == 0)
                await Task.WhenAny(Volatile.Read(ref _arrival).Task, Task.Delay(2000, Cancel)); // while a message is at the receiver: whose it is nobody knows
            await instance.KillAsync();
            if (random.Next(4) == 0)
                await Task.Delay(random.Next(500, 3000), Cancel); // it stays away for a while
            await instance.StartAsync(Cancel);
        }
    }

    private Instance? Leading => Terms().FirstOrDefault(static t => t.End == DateTimeOffset.MaxValue) is { Who: var name } ? _instances.Single(i => i.Name == name) : null;

    private IEnumerable<Span> Runs(string timer) => Spans($"A run of {timer} begins", $"A run of {timer} ends");

    private IEnumerable<Span> Terms() => Spans("This instance runs the timers, by", "This instance runs the timers no more");

    /// <summary>From one line of a life to the other, or to its death.</summary>
    private IEnumerable<Span> Spans(string begin, string end)
    {
        foreach (var instance in _instances)
        {
            (DateTimeOffset At, int Life)? open = null;
            foreach (var (at, life, words) in instance.Lines())
            {
                if (open is { } died && died.Life != life)
                {
                    yield return new Span(instance.Name, died.At, instance.EndOf(died.Life));
                    open = null;
                }

                if (words.StartsWith(begin, StringComparison.Ordinal))
                    open = (at, life);
                if (!words.StartsWith(end, StringComparison.Ordinal) || open is not { } begun)
                    continue;
                yield return new Span(instance.Name, begun.At, at);
                open = null;
            }

            if (open is { } last)
                yield return new Span(instance.Name, last.At, instance.EndOf(last.Life));
        }
    }

    private Task<Reply> DoAsync(string method, string path, JsonNode? body = null) => Wire.SendAsync(Running[0], method, path, body, Wire.Json, _token, Cancel);

    private async Task<JsonNode> GetAsync(string path) => (await DoAsync("GET", path)).Expect(HttpStatusCode.OK);

    private async Task<List<JsonNode>> ListAsync(string path, string name)
    {
        var all = new List<JsonNode>();
        string? after = null;
        do
        {
            var page = await GetAsync(after is null ? path : $"{path}&after={Uri.EscapeDataString(after)}");
            all.AddRange(page[name]!.AsArray().Select(static i => i!));
            after = page["next"]?.GetValue<string>();
        }
        while (after is not null);

        return all;
    }

    private static async Task WaitAsync(string what, TimeSpan most, Func<Task<bool>> condition)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < most, $"It was expected that {what}, within {most.TotalSeconds} s.");
            await Task.Delay(500, Cancel);
        }
    }

    private sealed record Span(string Who, DateTimeOffset Begin, DateTimeOffset End);
}

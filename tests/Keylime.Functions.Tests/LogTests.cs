using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;

namespace Keylime.Functions.Tests;

/// <summary>The lines of the log: JSON, one each, with the trace; and at no level a secret or evidence in any of them, whatever happens.</summary>
public sealed class LogTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Nothing_that_happens_puts_a_secret_or_evidence_into_the_log()
    {
        using var lines = new PrintedLines();
        var broken = false;
        await using var receiver = await HookServer.StartAsync(500, "", 0);
        await using var service = await TestService.StartAsync(
            services =>
            {
                services.RemoveAll<ILoggerProvider>();
                services.AddSingleton<ILoggerProvider>(lines);
                services.Configure<LoggerFilterOptions>(static filter =>
                {
                    filter.Rules.Clear(); // all that anybody says, the framework too
                    filter.MinLevel = LogLevel.Trace;
                });
                var inner = services.Last(static s => s.ServiceType == typeof(IVerdictStore));
                services.Replace(ServiceDescriptor.Singleton<IVerdictStore>(p => new BrokenVerdicts((IVerdictStore)inner.ImplementationFactory!(p), () => broken)));
            },
            configure: o => o with { AllowedOutbound = [receiver.Authority] });
        var secrets = await TellAsync(service, receiver, yes => broken = yes);
        secrets.Add("operator's token", service.TokenOf("operator"));
        secrets.Add("auditor's token", service.TokenOf("auditor"));
        secrets.Add("master key", File.ReadAllBytes(Path.Combine(service.Folder, "keys", "mac.key")));
        foreach (var key in Directory.EnumerateFiles(Path.Combine(service.Folder, "keys", "vault")))
            secrets.Add(Path.GetFileName(key), File.ReadAllBytes(key));

        var all = lines.All;
        Assert.True(all.Count > 200, $"{all.Count}");
        Assert.Contains(all, static l => l.Contains("Microsoft.AspNetCore", StringComparison.Ordinal)); // the framework speaks too
        Assert.Empty(all.SelectMany(secrets.In));
        foreach (var line in all)
        {
            var json = JsonNode.Parse(line)!.AsObject(); // whatever is in it, it is one line
            Assert.All((string[])["Timestamp", "LogLevel", "Category", "Message", "EventId"], name => Assert.True(json.ContainsKey(name), line));
        }

        var judged = all.Select(static l => JsonNode.Parse(l)!).Where(static j => j["Message"]!.GetValue<string>().StartsWith("Judged attestation", StringComparison.Ordinal)).ToList();
        Assert.Equal(["pass", "fail", "fail"], judged.Select(static j => j["State"]!["Evaluation"]!.GetValue<string>()));
        Assert.Equal(["Debug", "Information", "Information"], judged.Select(static j => j["LogLevel"]!.GetValue<string>())); // a pass is no news
        Assert.All(judged, static j => Assert.Matches("^[0-9a-f]{32}/[0-9a-f]{16}$", $"{j["trace_id"]}/{j["span_id"]}"));
        Assert.Equal(3, judged.Select(static j => j["trace_id"]!.GetValue<string>()).Distinct().Count());

        // What is looked for would be found, in every form.
        var log = service.Get<ILoggerFactory>().CreateLogger("planted");
        foreach (var (name, form) in secrets.Forms)
        {
            log.LogPlanted($"about {form} and more");
            Assert.Contains(name, secrets.In(lines.All[^1]));
        }

        log.LogPlantedError(new InvalidOperationException("in an exception: " + service.TokenOf("operator")));
        Assert.NotEmpty(secrets.In(lines.All[^1]));
    }

    [Fact]
    public void A_line_says_what_its_entry_says_and_nothing_around_it()
    {
        using var lines = new PrintedLines();
        using var factory = LoggerFactory.Create(logging => logging.AddProvider(lines).SetMinimumLevel(LogLevel.Trace));
        var log = factory.CreateLogger("A.Category");
        using (log.BeginScope("GET /v3.0/sessions/a-session"))
            log.LogPlanted("two\nlines, \"quoted\" \u2028 and {braces}");
        var line = Assert.Single(lines.All);
        Assert.DoesNotContain('\n', line);
        Assert.DoesNotContain("a-session", line, StringComparison.Ordinal);
        var json = JsonNode.Parse(line)!;
        Assert.Equal(("A.Category", "Warning", "Planted two\nlines, \"quoted\" \u2028 and {braces}"), (json["Category"]!.GetValue<string>(), json["LogLevel"]!.GetValue<string>(), json["Message"]!.GetValue<string>()));
        Assert.Equal("two\nlines, \"quoted\" \u2028 and {braces}", json["State"]!["Words"]!.GetValue<string>());
        Assert.Null(json["trace_id"]); // where no trace is going on

        using var span = new Activity("request").SetIdFormat(ActivityIdFormat.W3C).Start();
        log.LogPlanted("again");
        Assert.Equal((span.TraceId.ToString(), span.SpanId.ToString()), (JsonNode.Parse(lines.All[^1])!["trace_id"]!.GetValue<string>(), JsonNode.Parse(lines.All[^1])!["span_id"]!.GetValue<string>()));
    }

    /// <summary>What an agent, an operator, receivers and a broken store make of a day.</summary>
    private static async Task<Secrets> TellAsync(TestService service, HookServer receiver, Action<bool> breakStore)
    {
        var secrets = new Secrets();
        using var tool = new OperatorTool(service);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        secrets.Add("session token", agent.Token!);
        secrets.Add("webhook secret", (await service.PutWebhookAsync("w", receiver))!);
        secrets.Add("another token", (await service.Operator.SendAsync("POST", "/v1/tokens", new JsonObject { ["name"] = "ci", ["role"] = "operator" })).Expect(HttpStatusCode.Created)["token"]!.GetValue<string>());

        await EvidenceAsync(null);
        var digest = SHA256.HashData("a payload's key"u8);
        await tool.PutAsync("db.key", [.. "the database's password is hunter2: "u8, .. digest], "--node", agent.Id, "--require", "runtime");
        secrets.Add("payload", digest);
        Assert.Equal(digest, (await agent.FetchAsync("db.key"))[^32..]);
        secrets.Add("payload's key", agent.Unseal(await agent.ReleasedAsync("db.key", new byte[32]))[..32]);

        await agent.MeasureAsync("/usr/bin/miner");
        await EvidenceAsync(null);
        await EvidenceAsync(static c => c with { Message = [.. c.Message.Reverse()] });
        Assert.Equal("node_failed", await agent.RefusalAsync("db.key"));

        // What goes wrong: forged proofs, garbage, wrong tokens in wrong places, a store that breaks.
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        var (session, challenge) = await agent.OpenSessionAsync();
        await agent.ProveAsync(session, agent.Proof([.. challenge.Reverse()]));
        secrets.Add("challenge", challenge);
        await service.Anonymous.SendAsync("PATCH", $"/v3.0/agents/node/attestations/latest", $$"""{"data":{"type":"attestation","attributes":{"evidence_collected":[{"x":"{{Convert.ToBase64String(digest)}}" """, Http.JsonApi, agent.Token);
        await service.Anonymous.SendAsync("GET", "/v1/nodes", token: agent.Token);
        await service.Anonymous.SendAsync("GET", "/v1/nodes", token: service.TokenOf("operator") + "x");
        await service.Operator.SendAsync("PUT", "/v1/policies/broken", "{\"digests\": " + Convert.ToBase64String(digest));
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var asked = await agent.AskedAsync();
        breakStore(true);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await agent.SubmitAsync(asked, agent.Collect(asked))).Status);
        breakStore(false);
        await service.DeliverAsync();
        Assert.NotEmpty(receiver.Requests);
        service.Clock.Advance(TimeSpan.FromMinutes(10));
        Assert.True(await service.SweepAsync());
        await service.DeliverAsync();
        return secrets;

        async Task EvidenceAsync(Func<Collected, Collected>? alter)
        {
            service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
            await agent.AuthenticateAsync();
            secrets.Add("session token", agent.Token!);
            var asked = await agent.AskedAsync();
            var evidence = agent.Collect(asked);
            evidence = alter?.Invoke(evidence) ?? evidence;
            secrets.Add("nonce", asked.Nonce);
            secrets.Add("quote", evidence.Message);
            secrets.Add("signature", evidence.Signature);
            foreach (var line in Encoding.UTF8.GetString(evidence.Lines ?? []).Split('\n', StringSplitOptions.RemoveEmptyEntries))
                secrets.Add("measured line", line);
            (await agent.SubmitAsync(asked, evidence)).Expect(HttpStatusCode.Accepted);
        }
    }

    /// <summary>What must be in no line, in the forms that programs write such things in.</summary>
    private sealed class Secrets
    {
        private const int Shortest = 16; // of a part that tells something
        private readonly List<(string Name, string Form)> _forms = [];

        public IReadOnlyList<(string Name, string Form)> Forms => _forms;

        public void Add(string name, string text)
        {
            _forms.Add((name, text));
            Add(name, Encoding.UTF8.GetBytes(text));
            if (text.StartsWith("whsec_", StringComparison.Ordinal))
                Add(name, Convert.FromBase64String(text["whsec_".Length..]));
            if (text.Split('.') is [_, { Length: > Shortest } secret])
                _forms.Add((name, secret)); // behind its name
        }

        public void Add(string name, byte[] bytes)
        {
            // Base64 of a part of it is a part of its base64, from every third byte on.
            for (var shift = 0; shift < 3; shift++)
            {
                var whole = bytes.AsSpan(shift, (bytes.Length - shift) / 3 * 3);
                _forms.Add((name, Convert.ToBase64String(whole)));
                _forms.Add((name, Base64Url.EncodeToString(whole)));
            }

            _forms.Add((name, Convert.ToHexStringLower(bytes)));
            _forms.Add((name, Convert.ToHexString(bytes)));
        }

        public IEnumerable<string> In(string line)
        {
            var said = string.Join('\n', Texts(JsonNode.Parse(line)!)); // without the escapes of JSON
            return _forms.Where(f => said.Contains(Part(f.Form), StringComparison.Ordinal)).Select(static f => f.Name).Distinct();
        }

        // The beginning of a long one is enough to be a leak; what all quotes begin with alike (TPMS_ATTEST) is no secret.
        private static string Part(string form) => form.Length <= 64 ? form : form[^64..];

        private static IEnumerable<string> Texts(JsonNode node) => node switch
        {
            JsonObject members => members.SelectMany(static m => m.Value is null ? [m.Key] : Texts(m.Value).Append(m.Key)),
            JsonArray items => items.SelectMany(static i => i is null ? [] : Texts(i)),
            _ => [node.ToString()],
        };
    }

    /// <summary>What the service prints, by the formatter that prints it.</summary>
    private sealed class PrintedLines : ILoggerProvider, ISupportExternalScope
    {
        private readonly ConcurrentQueue<string> _lines = new();
        private readonly JsonLines _formatter = new(TimeProvider.System);
        private IExternalScopeProvider? _scopes;

        public IReadOnlyList<string> All => [.. _lines];

        public ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

        public void SetScopeProvider(IExternalScopeProvider scopeProvider) => _scopes = scopeProvider;

        public void Dispose() => _lines.Clear();

        private sealed class Logger(PrintedLines lines, string category) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state)
                where TState : notnull => lines._scopes?.Push(state);

            public bool IsEnabled(LogLevel logLevel) => true;

            public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                using var text = new StringWriter();
                ConsoleFormatter printer = lines._formatter;
                printer.Write(new LogEntry<TState>(logLevel, category, eventId, state, exception, formatter), lines._scopes, text);
                lines._lines.Enqueue(text.ToString().TrimEnd('\r', '\n'));
            }
        }
    }

    private sealed class BrokenVerdicts(IVerdictStore inner, Func<bool> broken) : IVerdictStore
    {
        public Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel) => broken() ? throw new StorageUnavailableException("The fuse has blown.") : inner.TryAddAsync(verdict, cancel);

        public Task<VerdictRecord?> FindAsync(Protocol.AgentId node, long attestation, CancellationToken cancel) => inner.FindAsync(node, attestation, cancel);

        public Task<Page<VerdictRecord>> ListAsync(Protocol.AgentId node, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(node, after, limit, cancel);

        public Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(Protocol.AgentId node, long attestation, int limit, CancellationToken cancel) => inner.ListSinceAsync(node, attestation, limit, cancel);

        public Task<VerdictRows> ListUpToAsync(Protocol.AgentId node, long attestation, int limit, CancellationToken cancel) => inner.ListUpToAsync(node, attestation, limit, cancel);

        public Task DeleteAsync(Protocol.AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel) => inner.DeleteAsync(node, attestations, cancel);
    }
}

internal static partial class Planted
{
    [LoggerMessage(Level = LogLevel.Warning, Message = "Planted {Words}")]
    public static partial void LogPlanted(this ILogger log, string words);

    [LoggerMessage(Level = LogLevel.Error, Message = "Planted")]
    public static partial void LogPlantedError(this ILogger log, Exception e);
}

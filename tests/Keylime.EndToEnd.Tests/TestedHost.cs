using System.Globalization;
using System.Text.Json.Nodes;
using Keylime.FunctionsHost;

namespace Keylime.EndToEnd.Tests;

/// <summary>The host that <see cref="HostTests"/> look at: ours, started by them; or one that runs already, as <c>functions/core-tools</c> starts the real one.</summary>
internal abstract class TestedHost : IAsyncDisposable
{
    /// <summary>A host that runs: its URL.</summary>
    public const string Variable = "KEYLIME_HOST_URL";

    /// <summary>Which hosts there are to test.</summary>
    public static TheoryData<string> Modes => Environment.GetEnvironmentVariable(Variable) is null ? ["Forwarding", "Proxying"] : ["Running"];

    public abstract Uri Url { get; }

    public abstract string CertificatePem { get; }

    /// <summary>The data directory of the handler.</summary>
    public abstract string Data { get; }

    /// <summary>Where the handler listens, now.</summary>
    public abstract int HandlerPort { get; }

    public abstract IEnumerable<string> Timers { get; }

    /// <summary>Has a timer function called; where the host tells how it went, it went well.</summary>
    public abstract Task TickAsync(string timer, CancellationToken cancel);

    /// <summary>How often a handler may end before the host gives it up.</summary>
    public abstract int Kills { get; }

    /// <summary>Ends the handler without a word, as the host does; it is started again.</summary>
    public abstract Task KillAsync(CancellationToken cancel);

    public abstract ValueTask DisposeAsync();

    /// <summary>One that runs already: what it is and where its handler is, the environment says.</summary>
    internal sealed class Running : TestedHost
    {
        private readonly HttpClient _client;
        private readonly string _package = From("KEYLIME_HOST_PACKAGE");

        public Running()
        {
            Url = new Uri(From(Variable));
            CertificatePem = File.ReadAllText(From("KEYLIME_HOST_CA"));
            _client = new HttpClient(new HttpClientHandler
            {
                ServerCertificateCustomValidationCallback = (_, shown, _, _) => shown?.ExportCertificatePem().Trim() == CertificatePem.Trim(),
            });
        }

        public override Uri Url { get; }

        public override string CertificatePem { get; }

        public override string Data => From("KEYLIME_HOST_DATA");

        public override int Kills => 2; // it takes them for crashes, and the third is the last

        public override int HandlerPort => int.Parse(
            File.ReadAllText($"/proc/{FindHandler() ?? throw new InvalidOperationException("No handler runs.")}/environ").Split('\0').Single(static v => v.StartsWith("FUNCTIONS_CUSTOMHANDLER_PORT=", StringComparison.Ordinal)).Split('=')[1],
            CultureInfo.InvariantCulture);

        public override IEnumerable<string> Timers => FunctionApp.Load(_package, locally: true).Functions.Where(static f => f.Kind != "httpTrigger").Select(static f => f.Name);

        // Core Tools take whoever comes for an administrator; of how it went they tell nothing.
        public override async Task TickAsync(string timer, CancellationToken cancel)
        {
            using var body = new StringContent(new JsonObject { ["input"] = "" }.ToJsonString(), System.Text.Encoding.UTF8, "application/json");
            using var answer = await _client.PostAsync(new Uri(Url, $"/admin/functions/{timer}"), body, cancel);
            Assert.Equal(System.Net.HttpStatusCode.Accepted, answer.StatusCode);
        }

        public override async Task KillAsync(CancellationToken cancel)
        {
            var before = FindHandler() ?? throw new InvalidOperationException("No handler runs.");
            using (var process = System.Diagnostics.Process.GetProcessById(before))
                process.Kill();
            for (var tries = 0; FindHandler() is not { } now || now == before || !await IsReadyAsync(cancel); tries++)
            {
                Assert.InRange(tries, 0, 300); // half a minute
                await Task.Delay(100, cancel);
            }
        }

        public override ValueTask DisposeAsync()
        {
            _client.Dispose();
            return ValueTask.CompletedTask;
        }

        private static string From(string variable) => Environment.GetEnvironmentVariable(variable) ?? throw new InvalidOperationException($"{variable} is not set: functions/core-tools sets it.");

        // A handler that is just there answers nobody yet, and the host says 500 for it.
        private async Task<bool> IsReadyAsync(CancellationToken cancel)
        {
            using var answer = await _client.GetAsync(new Uri(Url, "/health"), cancel);
            return answer.IsSuccessStatusCode;
        }

        private int? FindHandler()
        {
            var program = Path.Combine(_package, "Keylime.Functions");
            foreach (var process in System.Diagnostics.Process.GetProcessesByName("Keylime.Functions"))
            {
                using (process)
                {
                    if (File.ResolveLinkTarget($"/proc/{process.Id}/exe", false)?.FullName == program)
                        return process.Id;
                }
            }

            return null;
        }
    }

    /// <summary>Ours, which tells of its handler what no real one does.</summary>
    internal sealed class Conforming(HostBench bench) : TestedHost
    {
        public Handler Handler => bench.Host.Handler;

        public override Uri Url => bench.Host.Url;

        public override string CertificatePem => bench.Host.CertificatePem;

        public override string Data => bench.Data;

        public override int Kills => 5; // they are its own

        public override int HandlerPort => Handler.Port;

        public override IEnumerable<string> Timers => bench.Host.App.Functions.Where(static f => f.Kind != "httpTrigger").Select(static f => f.Name);

        public override async Task TickAsync(string timer, CancellationToken cancel) => Assert.Equal(new Invocation(true, ""), await bench.Host.TickAsync(timer, cancel));

        public override Task KillAsync(CancellationToken cancel) => Handler.RestartAsync(cancel);

        public override ValueTask DisposeAsync() => bench.DisposeAsync();
    }
}

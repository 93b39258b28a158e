using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Tests;

/// <summary>Every metric and attribute that a dashboard, an alert or the documentation names is one that a running service exports; and every one that it exports is documented.</summary>
public sealed partial class MetricNameTests
{
    private static readonly string Root = Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..");

    [Fact]
    public async Task Names_in_dashboards_alerts_and_documentation_are_those_of_the_service()
    {
        var (named, series, labels) = await ExportedAsync();

        // docs/telemetry.md has all of them and no other.
        var documented = Documented().Matches(Read("docs/telemetry.md"));
        Assert.Equal(named.Order(StringComparer.Ordinal), documented.Select(static m => m.Groups[1].Value).Order(StringComparer.Ordinal));
        Assert.Equal(series.Order(StringComparer.Ordinal), documented.Select(static m => m.Groups[2].Value).Order(StringComparer.Ordinal));
        Assert.Equal(labels.Where(static l => l.StartsWith("keylime_", StringComparison.Ordinal)).Order(StringComparer.Ordinal),
            documented.SelectMany(static m => Attribute().Matches(m.Groups[3].Value)).Select(static m => m.Groups[1].Value.Replace('.', '_')).Distinct().Order(StringComparer.Ordinal));

        // Grafana: in expressions, and in what fills its variables.
        var dashboard = JsonNode.Parse(Read("infra/dashboards/grafana.json"))!;
        var expressions = dashboard["panels"]!.AsArray().SelectMany(static p => p!["targets"]!.AsArray().SelectMany(static t => (string[])[t!["expr"]!.GetValue<string>(), t["legendFormat"]!.GetValue<string>()]))
            .Append(dashboard["templating"]!["list"]![1]!["query"]!["query"]!.GetValue<string>()).ToList();
        Assert.Empty(Unknown(expressions));
        Assert.NotEmpty(Unknown(["max(keylime_nodes_oldest_prove_seconds)"]));
        Assert.NotEmpty(Unknown(["keylime_nodes{keylime_state=\"failed\"}"]));
        var used = expressions.SelectMany(static e => PrometheusName().Matches(e)).Select(static m => Suffix().Replace(m.Value, "")).ToHashSet();
        Assert.All(series, name => Assert.Contains(name, used)); // and nothing that is exported is forgotten there

        // The workbook and the alerts: Application Insights has the names of OpenTelemetry.
        var attributes = documented.SelectMany(static m => Attribute().Matches(m.Groups[3].Value)).Select(static m => m.Groups[1].Value).ToHashSet();
        foreach (var file in (string[])["infra/dashboards/workbook.json", "infra/modules/monitoring.bicep"])
        {
            var names = Quoted().Matches(Read(file)).Select(static m => m.Groups[1].Value).ToList();
            Assert.NotEmpty(names);
            Assert.All(names, name => Assert.True(named.Contains(name) || attributes.Contains(name), $"{file}: {name}"));
        }

        IEnumerable<string> Unknown(IEnumerable<string> texts) => texts.SelectMany(static e => PrometheusName().Matches(e)).Select(static m => m.Value)
            .Where(name => !labels.Contains(name) && !series.Contains(name) && !series.Contains(Suffix().Replace(name, "")));
    }

    [Fact]
    public void The_dashboards_are_what_Grafana_and_Azure_take()
    {
        // https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
        var dashboard = JsonNode.Parse(Read("infra/dashboards/grafana.json"))!;
        Assert.All((string[])["title", "uid"], name => Assert.NotEmpty(dashboard[name]!.GetValue<string>()));
        Assert.True(dashboard["schemaVersion"]!.GetValue<int>() >= 36);
        var panels = dashboard["panels"]!.AsArray();
        Assert.Equal(panels.Count, panels.Select(static p => p!["id"]!.GetValue<int>()).Distinct().Count());
        var taken = new HashSet<(int, int)>();
        foreach (var panel in panels)
        {
            Assert.All((string[])["title", "type"], name => Assert.NotEmpty(panel![name]!.GetValue<string>()));
            Assert.Equal("${datasource}", panel!["datasource"]!["uid"]!.GetValue<string>());
            var place = panel["gridPos"]!;
            var (x, y, w, h) = (place["x"]!.GetValue<int>(), place["y"]!.GetValue<int>(), place["w"]!.GetValue<int>(), place["h"]!.GetValue<int>());
            Assert.True(x + w <= 24);
            for (var i = 0; i < w * h; i++)
                Assert.True(taken.Add((x + i % w, y + i / w)), $"{panel["title"]} lies over another.");
            var targets = panel["targets"]!.AsArray();
            Assert.NotEmpty(targets);
            Assert.Equal(targets.Count, targets.Select(static t => t!["refId"]!.GetValue<string>()).Distinct().Count());
            foreach (var expression in targets.Select(static t => t!["expr"]!.GetValue<string>()))
                Assert.All((string[])["()", "{}", "[]"], pair => Assert.Equal(expression.Count(c => c == pair[0]), expression.Count(c => c == pair[1])));
        }

        // https://github.com/microsoft/Application-Insights-Workbooks: items of text (1), of a query (3) and of parameters (9)
        var workbook = JsonNode.Parse(Read("infra/dashboards/workbook.json"))!;
        Assert.Equal("Notebook/1.0", workbook["version"]!.GetValue<string>());
        var items = workbook["items"]!.AsArray();
        Assert.Equal(items.Count, items.Select(static i => i!["name"]!.GetValue<string>()).Distinct().Count());
        Assert.All(items, static item => Assert.Contains(item!["type"]!.GetValue<int>(), (int[])[1, 3, 9]));
        Assert.All(items.Where(static i => i!["type"]!.GetValue<int>() == 3), static i => Assert.StartsWith("AppMetrics | where Name == ", i!["content"]!["query"]!.GetValue<string>(), StringComparison.Ordinal));
    }

    /// <summary>What a service exports that has done everything that it counts: names of OpenTelemetry, names of Prometheus without the endings of a histogram, and labels.</summary>
    private static async Task<(HashSet<string> Named, HashSet<string> Series, HashSet<string> Labels)> ExportedAsync()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await TestService.StartAsync(configure: o => o with { AllowedOutbound = [receiver.Authority], KeepVerdicts = TimeSpan.FromDays(400) });
        using var read = new MeterReadings(service);
        using var tool = new OperatorTool(service);
        await service.PutWebhookAsync("w", receiver);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestWholeAsync();
        await tool.PutAsync("db.key", null, "--node", agent.Id, "--require", "runtime");
        await agent.FetchAsync("db.key");
        await service.DeliverAsync();
        await service.HappenAsync("node", EventTypes.NodeFailed); // and waits
        service.Get<Instruments>().Throttled("503"); // no store here has too much to do
        service.Get<Instruments>().Retried();
        Assert.True(await service.SweepAsync());
        await service.Get<Verifier.Retention>().ContinueAsync(TestContext.Current.CancellationToken);
        if (double.IsNaN(read["keylime.outbox.oldest"]))
        {
            // Whatever waited was delivered meanwhile: a receiver that is away leaves something.
            await receiver.DisposeAsync();
            await service.HappenAsync("node", EventTypes.NodeFailed, 2);
            service.Clock.Advance(FleetCount.Pace);
            Assert.True(await service.SweepAsync());
        }

        var text = (await service.Operator.SendAsync("GET", "/metrics")).Text;
        var series = Series().Matches(text).Select(static m => m.Groups[1].Value).Where(static n => n is not ("target_info" or "otel_scope_info")).ToHashSet();
        var labels = Label().Matches(text).Select(static m => m.Groups[1].Value).ToHashSet();
        var named = read.All.Keys.Select(static k => k.Split('{')[0]).Concat(["http.server.request.duration", "http.server.active_requests"]).ToHashSet();
        return (named, series, labels);
    }

    private static string Read(string path) => File.ReadAllText(Path.Combine(Root, path));

    [GeneratedRegex(@"^\| `([a-z][a-z0-9_.]+)` \| `([a-z][a-z0-9_]+)` \|([^\n]*)$", RegexOptions.Multiline)]
    private static partial Regex Documented();

    [GeneratedRegex(@"`(keylime\.[a-z_.]+)`")]
    private static partial Regex Attribute();

    [GeneratedRegex(@"\b(?:keylime|http)_[a-z0-9_]+")]
    private static partial Regex PrometheusName();

    [GeneratedRegex("_(bucket|sum|count)$")]
    private static partial Regex Suffix();

    [GeneratedRegex("\\\\?\"(keylime\\.[a-z_.]+)\\\\?\"")]
    private static partial Regex Quoted();

    [GeneratedRegex("^# TYPE ([a-z0-9_]+) ", RegexOptions.Multiline)]
    private static partial Regex Series();

    [GeneratedRegex("[{,]([a-z_][a-z0-9_]*)=\"")]
    private static partial Regex Label();
}

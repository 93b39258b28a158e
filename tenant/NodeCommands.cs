using System.CommandLine;
using System.Globalization;
using System.Net.Http.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime node …</c>.</summary>
internal static class NodeCommands
{
    public static Command Create(Surroundings surroundings, Option<bool> json) => new("node", "Machines under watch.")
    {
        Enrol(surroundings, json),
        List(surroundings, json),
        Show(surroundings, json),
        Retire(surroundings, json),
        Verdicts(surroundings, json),
        Events(surroundings, json),
    };

    private static Command Enrol(Surroundings surroundings, Option<bool> json)
    {
        var id = Id();
        var policy = new Option<string?>("--policy") { Description = "The runtime policy that judges what it runs." };
        var pcrs = new Option<string[]>("--pcr") { Description = "INDEX=HEX: an allowed value of a PCR; may be repeated, also for one PCR.", DefaultValueFactory = _ => [] };
        var interval = new Option<int?>("--interval") { Description = "Seconds from one attestation to the next." };
        var name = new Option<string?>("--ak-name") { Description = "The attestation key's name in hex, where it is known: another one is refused." };
        var command = new Command("enrol", "Admit a registered agent, and pin its attestation key.") { id, policy, pcrs, interval, name };
        command.SetAction(async (parsed, cancel) =>
        {
            var node = new EnrolNode
            {
                RuntimePolicy = parsed.GetValue(policy),
                Pcrs = ReadPcrs(parsed.GetValue(pcrs)!),
                IntervalSeconds = parsed.GetValue(interval),
                AttestationKeyName = parsed.GetValue(name),
            };
            var path = PathOf(parsed.GetValue(id)!);
            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = JsonContent.Create(node, ApiJson.Default.EnrolNode);
            await WriteAsync(surroundings, parsed.GetValue(json), await api.SendAsync(HttpMethod.Put, path, content, ApiJson.Default.NodeDetails, cancel));
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Option<bool> json)
    {
        var state = new Option<string?>("--state") { Description = "Only nodes of this state: pending, trusted, late, silent, failed or retired." };
        state.AcceptOnlyFromAmong("pending", "trusted", "late", "silent", "failed", "retired");
        var command = new Command("list", "All nodes.") { state };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var nodes = await api.NodesAsync(parsed.GetValue(state), cancel);
            if (parsed.GetValue(json))
                Output.WriteJson(surroundings, nodes, ApiJson.Default.NodeList);
            else
                Output.Console(surroundings).Write(Output.Nodes(nodes.Nodes, surroundings.Clock.GetUtcNow()));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Show(Surroundings surroundings, Option<bool> json)
    {
        var id = Id();
        var command = new Command("show", "One node, with its last verdict.") { id };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await WriteAsync(surroundings, parsed.GetValue(json), await api.GetAsync(PathOf(parsed.GetValue(id)!), ApiJson.Default.NodeDetails, cancel));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Retire(Surroundings surroundings, Option<bool> json)
    {
        var id = Id();
        var command = new Command("retire", "Take a node out. Its history stays.") { id };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var node = await api.SendAsync(HttpMethod.Post, PathOf(parsed.GetValue(id)!) + "/retire", null, ApiJson.Default.NodeDetails, cancel);
            await WriteAsync(surroundings, parsed.GetValue(json), node);
            return Exits.Ok;
        });
        return command;
    }

    private static Command Verdicts(Surroundings surroundings, Option<bool> json)
    {
        var (id, limit) = (Id(), Limit());
        var command = new Command("verdicts", "A node's verdicts, newest first.") { id, limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync(
                string.Create(CultureInfo.InvariantCulture, $"{PathOf(parsed.GetValue(id)!)}/verdicts?limit={parsed.GetValue(limit)}"), ApiJson.Default.VerdictList, cancel);
            if (parsed.GetValue(json))
            {
                Output.WriteJson(surroundings, list, ApiJson.Default.VerdictList);
                return Exits.Ok;
            }

            foreach (var verdict in list.Verdicts)
            {
                surroundings.Out.WriteLine($"{Output.Time(verdict.At)}  {verdict.Attestation,6}  {PlainText.From(verdict.Evaluation)}");
                WriteFindings(surroundings, verdict);
            }

            return Exits.Ok;
        });
        return command;
    }

    private static Command Events(Surroundings surroundings, Option<bool> json)
    {
        var (id, limit) = (Id(), Limit());
        var command = new Command("events", "What happened to a node, newest first.") { id, limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync(
                string.Create(CultureInfo.InvariantCulture, $"{PathOf(parsed.GetValue(id)!)}/events?limit={parsed.GetValue(limit)}"), ApiJson.Default.EventList, cancel);
            if (parsed.GetValue(json))
            {
                Output.WriteJson(surroundings, list, ApiJson.Default.EventList);
                return Exits.Ok;
            }

            foreach (var e in list.Events)
                surroundings.Out.WriteLine($"{Output.Time(e.At)}  {PlainText.From(e.Type)}  {PlainText.From(e.Detail)}");
            return Exits.Ok;
        });
        return command;
    }

    private static Task WriteAsync(Surroundings surroundings, bool json, NodeDetails details)
    {
        if (json)
        {
            Output.WriteJson(surroundings, details, ApiJson.Default.NodeDetails);
            return Task.CompletedTask;
        }

        var node = details.Node;
        Output.WriteFields(surroundings,
            ("node", node.Id.ToString()),
            ("state", node.State.ToString().ToLowerInvariant()),
            ("why", node.Reason),
            ("coverage", $"identity {node.Coverage.Identity}, boot {node.Coverage.Boot}, runtime {node.Coverage.Runtime}"),
            ("runtime policy", node.RuntimePolicy),
            ("interval", string.Create(CultureInfo.InvariantCulture, $"{node.IntervalSeconds} s")),
            ("enrolled", Output.Time(node.EnrolledAt)),
            ("attestations", node.Attestations.ToString(CultureInfo.InvariantCulture)),
            ("last verdict", Output.Time(node.LastVerdictAt)),
            ("last pass", Output.Time(details.LastPassAt)),
            ("next expected", Output.Time(node.NextExpectedAt)),
            ("attestation key", $"{details.AttestationKeyType} {details.AttestationKeyName}"),
            ("endorsement key", details.EndorsementKeyHash));
        foreach (var (pcr, values) in details.Pcrs)
            Output.WriteFields(surroundings, ($"PCR {pcr}", string.Join(", ", values)));
        if (details.LastVerdict is { } verdict)
            WriteFindings(surroundings, verdict);
        return Task.CompletedTask;
    }

    private static void WriteFindings(Surroundings surroundings, VerdictMessage verdict)
    {
        foreach (var finding in verdict.Findings)
        {
            surroundings.Out.WriteLine($"  {PlainText.From(finding.Code)}: {PlainText.From(finding.Detail)}");
            if (finding.Seen is { } seen)
                surroundings.Out.WriteLine($"    seen {PlainText.From(seen)}, allowed {(finding.Allowed is { Count: > 0 } allowed ? PlainText.From(string.Join(", ", allowed)) : "none")}");
        }

        if (verdict.FindingCount > verdict.Findings.Count)
            surroundings.Out.WriteLine($"  … and {verdict.FindingCount - verdict.Findings.Count} more");
    }

    private static Dictionary<string, IReadOnlyList<string>>? ReadPcrs(string[] given)
    {
        if (given.Length == 0)
            return null;
        var pcrs = new Dictionary<string, IReadOnlyList<string>>();
        foreach (var pcr in given)
        {
            if (pcr.Split('=') is not [var index, { Length: > 0 } value] || !int.TryParse(index, NumberStyles.None, CultureInfo.InvariantCulture, out _))
                throw new CliException(Exits.Usage, $"--pcr {PlainText.From(pcr)}: INDEX=HEX is expected", "for example --pcr 7=0123…, of 64 hex digits for SHA-256");
            pcrs[index] = [.. pcrs.GetValueOrDefault(index) ?? [], value];
        }

        return pcrs;
    }

    private static string PathOf(string id) => AgentId.TryParse(id, null, out var agent)
        ? $"/v1/nodes/{agent}"
        : throw new CliException(Exits.Usage, $"'{PlainText.From(id)}' is no node's id", "1 to 80 of A-Z a-z 0-9 _ . - are expected");

    private static Argument<string> Id() => new("ID") { Description = "The node's id: that of its agent." };

    private static Option<int> Limit() => new("--limit") { Description = "So many at most, up to 1000.", DefaultValueFactory = _ => 20 };
}

using System.CommandLine;
using System.Globalization;
using System.Net.Http.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime node …</c>.</summary>
internal static class NodeCommands
{
    public static Command Create(Surroundings surroundings, Formats formats) => new("node", "Machines under watch.")
    {
        Enrol(surroundings, formats),
        Approve(surroundings, formats),
        NodePolicyCommands.Update(surroundings, formats),
        List(surroundings, formats),
        Show(surroundings, formats),
        Change(surroundings, formats, "retire", "Take nodes out. Their history stays."),
        Change(surroundings, formats, "reactivate", "Take retired nodes back, with the keys and policies that they had."),
        Change(surroundings, formats, "recover", "Say of nodes that failed, and pass again, that they are healed: of those that wait for an operator."),
        Forget(surroundings),
        Verdicts(surroundings, formats, "history", "A node's verdicts, newest first."),
        Verdicts(surroundings, formats, "verdicts", "The same as history."),
        Events(surroundings, formats),
        NodePolicyCommands.Log(surroundings, "boot-log", "boot log", "Write the last boot log that a quote has proven (binary_bios_measurements)."),
        NodePolicyCommands.Log(surroundings, "measurement-list", "measurement list", "Write the measurement list of the last boot, as far as it is proven (ascii_runtime_measurements)."),
    };

    private static Command Enrol(Surroundings surroundings, Formats formats)
    {
        string[] columns = ["id", "policy", "boot-policy", "interval", "ak-name", "recovery", "group"];
        var (id, file) = (OptionalId(), Bulk.From(columns));
        var policy = new Option<string?>("--policy") { Description = "The runtime policy that judges what it runs." };
        var boot = new Option<string?>("--boot-policy") { Description = "The boot policy that judges what it boots." };
        var pcrs = NodeOptions.PcrValues();
        var interval = new Option<int?>("--interval") { Description = "Seconds from one attestation to the next." };
        var (recovery, group) = (NodeOptions.Recovery(), NodeOptions.Group());
        var name = new Option<string?>("--ak-name") { Description = "The attestation key's name in hex, where it is known: another one is refused." };
        var command = new Command("enrol", "Admit registered agents, and pin their attestation keys.") { id, file, policy, boot, pcrs, interval, name, recovery, group };
        command.SetAction((parsed, cancel) => RunAsync(surroundings, formats, parsed, parsed.GetValue(id), parsed.GetValue(file), columns, async row =>
        {
            var node = new EnrolNode
            {
                RuntimePolicy = row.GetValueOrDefault("policy") ?? parsed.GetValue(policy),
                BootPolicy = row.GetValueOrDefault("boot-policy") ?? parsed.GetValue(boot),
                Pcrs = NodeOptions.ReadPcrs(parsed.GetValue(pcrs)!),
                IntervalSeconds = row.GetValueOrDefault("interval") is { } seconds ? NodeOptions.ReadNumber(seconds) : parsed.GetValue(interval),
                Recovery = row.GetValueOrDefault("recovery") ?? parsed.GetValue(recovery),
                Group = row.GetValueOrDefault("group") ?? parsed.GetValue(group),
                AttestationKeyName = row.GetValueOrDefault("ak-name") ?? parsed.GetValue(name),
            };
            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = JsonContent.Create(node, ApiJson.Default.EnrolNode);
            return await api.SendAsync(HttpMethod.Put, PathOf(row["id"]), content, ApiJson.Default.NodeDetails, cancel);
        }, cancel));
        return command;
    }

    private static Command Approve(Surroundings surroundings, Formats formats)
    {
        string[] columns = ["id", "ak-name", "policy", "boot-policy", "interval", "recovery", "group"];
        var (id, file) = (OptionalId(), Bulk.From(columns));
        var name = new Option<string?>("--ak-name") { Description = "The name of the key that is approved, in hex; the one that waits now if left out." };
        var policy = new Option<string?>("--policy") { Description = "Of a waiting node: its runtime policy." };
        var boot = new Option<string?>("--boot-policy") { Description = "Of a waiting node: its boot policy." };
        var (recovery, group) = (NodeOptions.Recovery(), NodeOptions.Group());
        var interval = new Option<int?>("--interval") { Description = "Of a waiting node: seconds from one attestation to the next." };
        var command = new Command("approve", "Admit waiting nodes, or the new keys of known ones.") { id, file, name, policy, boot, interval, recovery, group };
        command.SetAction((parsed, cancel) => RunAsync(surroundings, formats, parsed, parsed.GetValue(id), parsed.GetValue(file), columns, async row =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            if ((row.GetValueOrDefault("ak-name") ?? parsed.GetValue(name)) is not { } key)
            {
                var now = await api.GetAsync(PathOf(row["id"]), ApiJson.Default.NodeDetails, cancel);
                key = now.ProposedKeyName ?? now.AttestationKeyName;
            }

            var approval = new ApproveNode
            {
                AttestationKeyName = key,
                Node = new EnrolNode
                {
                    RuntimePolicy = row.GetValueOrDefault("policy") ?? parsed.GetValue(policy),
                    BootPolicy = row.GetValueOrDefault("boot-policy") ?? parsed.GetValue(boot),
                    IntervalSeconds = row.GetValueOrDefault("interval") is { } seconds ? NodeOptions.ReadNumber(seconds) : parsed.GetValue(interval),
                    Recovery = row.GetValueOrDefault("recovery") ?? parsed.GetValue(recovery),
                    Group = row.GetValueOrDefault("group") ?? parsed.GetValue(group),
                },
            };
            using var content = JsonContent.Create(approval, ApiJson.Default.ApproveNode);
            return await api.SendAsync(HttpMethod.Post, PathOf(row["id"]) + "/approve", content, ApiJson.Default.NodeDetails, cancel);
        }, cancel));
        return command;
    }

    private static Command Change(Surroundings surroundings, Formats formats, string verb, string description)
    {
        string[] columns = ["id"];
        var (id, file) = (OptionalId(), Bulk.From(columns));
        var command = new Command(verb, description) { id, file };
        command.SetAction((parsed, cancel) => RunAsync(surroundings, formats, parsed, parsed.GetValue(id), parsed.GetValue(file), columns, async row =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            return await api.SendAsync(HttpMethod.Post, $"{PathOf(row["id"])}/{verb}", null, ApiJson.Default.NodeDetails, cancel);
        }, cancel));
        return command;
    }

    private static Command Forget(Surroundings surroundings)
    {
        var id = Id();
        var command = new Command("forget", "Forget a registration: another TPM may claim the id. A node that was enrolled keeps its key.") { id };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, PathOf(parsed.GetValue(id)!).Replace("/v1/nodes/", "/v2.6/agents/", StringComparison.Ordinal), null, cancel);
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var state = new Option<string?>("--state") { Description = "Only nodes of this state: pending, trusted, late, silent, failed or retired." };
        state.AcceptOnlyFromAmong("pending", "trusted", "late", "silent", "failed", "retired");
        var command = new Command("list", "All nodes.") { state };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var nodes = await api.NodesAsync(parsed.GetValue(state), cancel);
            if (formats.IsJson(parsed) || formats.IsCsv(parsed))
                Output.WriteNodes(surroundings, formats, parsed, nodes);
            else
                Output.Console(surroundings).Write(Output.Nodes(nodes.Nodes, surroundings.Clock.GetUtcNow()));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Show(Surroundings surroundings, Formats formats)
    {
        var id = Id();
        var propose = new Option<bool>("--propose") { Description = "The smallest addition to its runtime policy that would admit what its last verdict objects to: for a person to review." };
        var output = new Option<string?>("--out") { Description = "With --propose: the file that it goes into; the standard output if left out." };
        var command = new Command("show", "One node, with its last verdict.") { id, propose, output };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var details = await api.GetAsync(PathOf(parsed.GetValue(id)!), ApiJson.Default.NodeDetails, cancel);
            if (parsed.GetValue(propose))
                await Proposal.WriteAsync(surroundings, details, parsed.GetValue(output), cancel);
            else
                Write(surroundings, formats, parsed, details);
            return Exits.Ok;
        });
        return command;
    }

    private static Command Verdicts(Surroundings surroundings, Formats formats, string verb, string description)
    {
        var (id, limit) = (Id(), Limit());
        var command = new Command(verb, description) { id, limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync(
                string.Create(CultureInfo.InvariantCulture, $"{PathOf(parsed.GetValue(id)!)}/verdicts?limit={parsed.GetValue(limit)}"), ApiJson.Default.VerdictList, cancel);
            if (formats.IsJson(parsed) || formats.IsCsv(parsed))
            {
                Output.WriteList(surroundings, formats, parsed, list, ApiJson.Default.VerdictList, ["at", "attestation", "evaluation", "identity", "boot", "runtime", "finding", "path", "detail"],
                    list.Verdicts.SelectMany(static v => v.Findings.DefaultIfEmpty(new FindingMessage("", "")).Select(f => (string?[])
                    [
                        Output.Time(v.At), v.Attestation.ToString(CultureInfo.InvariantCulture), v.Evaluation, v.Coverage.Identity, v.Coverage.Boot, v.Coverage.Runtime, f.Code, f.Path, f.Detail,
                    ])));
                return Exits.Ok;
            }

            foreach (var verdict in list.Verdicts)
            {
                surroundings.Out.WriteLine($"{Output.Time(verdict.At)}  {verdict.Attestation,6}  {PlainText.From(verdict.Evaluation)}  {Describe(verdict.Coverage)}");
                WriteFindings(surroundings, verdict);
            }

            return Exits.Ok;
        });
        return command;
    }

    private static Command Events(Surroundings surroundings, Formats formats)
    {
        var id = Id();
        var (types, since, until, limit) = EventCommands.Filters();
        var command = new Command("events", "What happened to a node, newest first.") { id, types, since, until, limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await EventCommands.ReadAsync(api, PathOf(parsed.GetValue(id)!) + "/events", EventCommands.QueryOf(parsed, types, since, until), parsed.GetValue(limit), cancel);
            EventCommands.Write(surroundings, formats, parsed, list);
            return Exits.Ok;
        });
        return command;
    }

    // The one that was named, whole; or many: a line each as it is done, or one document of all that were.
    internal static async Task<int> RunAsync(
        Surroundings surroundings, Formats formats, ParseResult parsed, string? id, string? file, IReadOnlyList<string> columns,
        Func<Dictionary<string, string>, Task<NodeDetails>> one, CancellationToken cancel)
    {
        var done = new List<NodeSummary>();
        var together = formats.IsJson(parsed) || formats.IsCsv(parsed);
        try
        {
            return await Bulk.RunAsync(surroundings, id, file, columns, async row =>
            {
                var details = await one(row);
                done.Add(details.Node);
                if (file is null)
                    Write(surroundings, formats, parsed, details);
                else if (!together)
                    surroundings.Out.WriteLine($"{details.Node.Id}: {details.Node.State.ToString().ToLowerInvariant()}");
            }, cancel);
        }
        finally
        {
            if (file is not null && together && done.Count > 0)
                Output.WriteNodes(surroundings, formats, parsed, new NodeList(done));
        }
    }

    internal static void Write(Surroundings surroundings, Formats formats, ParseResult parsed, NodeDetails details)
    {
        if (formats.IsJson(parsed))
        {
            Output.WriteJson(surroundings, details, ApiJson.Default.NodeDetails);
            return;
        }

        if (formats.IsCsv(parsed))
        {
            Output.WriteNodes(surroundings, formats, parsed, new NodeList([details.Node]));
            return;
        }

        var node = details.Node;
        Output.WriteFields(surroundings,
            ("node", node.Id.ToString()),
            ("state", node.State.ToString().ToLowerInvariant()),
            ("why", node.Reason),
            ("coverage", Describe(node.Coverage)),
            ("runtime policy", node.RuntimePolicy),
            ("boot policy", node.BootPolicy),
            ("interval", string.Create(CultureInfo.InvariantCulture, $"{node.IntervalSeconds} s")),
            ("recovery", details.Recovery),
            ("group", details.Node.Group),
            ("enrolled", Output.Time(node.EnrolledAt)),
            ("attestations", node.Attestations.ToString(CultureInfo.InvariantCulture)),
            ("last verdict", Output.Time(node.LastVerdictAt)),
            ("last pass", Output.Time(details.LastPassAt)),
            ("next expected", Output.Time(node.NextExpectedAt)),
            ("attestation key", $"{details.AttestationKeyType} {details.AttestationKeyName}"),
            ("key to approve", details.ProposedKeyName),
            ("endorsement key", details.EndorsementKeyHash));
        foreach (var (pcr, values) in details.Pcrs)
            Output.WriteFields(surroundings, ($"PCR {pcr}", string.Join(", ", values)));
        if (details.LastVerdict is { } verdict)
            WriteFindings(surroundings, verdict);
    }

    private static string Describe(Coverage coverage) =>
        PlainText.From($"identity {coverage.Identity}, boot {coverage.Boot}, runtime {coverage.Runtime}");

    private static void WriteFindings(Surroundings surroundings, VerdictMessage verdict)
    {
        foreach (var finding in verdict.Findings)
        {
            surroundings.Out.WriteLine($"  {PlainText.From(finding.Code)}: {PlainText.From(finding.Detail)}");
            if (finding.Seen is { } seen)
                surroundings.Out.WriteLine($"    seen {PlainText.From(seen)}, allowed {(finding.Allowed is { Count: > 0 } allowed ? PlainText.From(string.Join(", ", allowed)) : "none")}");
            if (finding.Event is { } happened)
                surroundings.Out.WriteLine($"    expected {PlainText.From(happened.Expected)}, seen {PlainText.From(happened.Seen)}");
        }

        if (verdict.FindingCount > verdict.Findings.Count)
            surroundings.Out.WriteLine($"  … and {verdict.FindingCount - verdict.Findings.Count} more");
    }

    internal static string PathOf(string id) => AgentId.TryParse(id, null, out var agent)
        ? $"/v1/nodes/{agent}"
        : throw new CliException(Exits.Usage, $"'{PlainText.From(id)}' is no node's id", "1 to 80 of A-Z a-z 0-9 _ . - are expected");

    internal static Argument<string?> OptionalId() =>
        new("ID") { Description = "The node's id: that of its agent. Without it --from names many.", Arity = ArgumentArity.ZeroOrOne, DefaultValueFactory = static _ => null };

    internal static Argument<string> Id() => new("ID") { Description = "The node's id: that of its agent." };

    private static Option<int> Limit() => new("--limit") { Description = "So many at most, up to 1000.", DefaultValueFactory = _ => 20 };
}

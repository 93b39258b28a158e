using System.CommandLine;
using System.Net.Http.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime node …</c>, of what judges a node and of what it was judged by.</summary>
internal static class NodePolicyCommands
{
    public static Command Update(Surroundings surroundings, Formats formats)
    {
        string[] columns = ["id", "policy", "boot-policy", "interval", "recovery", "group"];
        var (id, file) = (NodeCommands.OptionalId(), Bulk.From(columns));
        var policy = new Option<string?>("--policy") { Description = "Another runtime policy." };
        var boot = new Option<string?>("--boot-policy") { Description = "Another boot policy." };
        var pcrs = NodeOptions.PcrValues();
        var interval = new Option<int?>("--interval") { Description = "Seconds from one attestation to the next." };
        var (recovery, group) = (NodeOptions.Recovery(), NodeOptions.Group());
        var no = new Option<string[]>("--no") { Description = "policy, boot-policy, pcrs or group: take it away; may be repeated.", DefaultValueFactory = _ => [] };
        no.AcceptOnlyFromAmong("policy", "boot-policy", "pcrs", "group");
        var command = new Command("update", "Give nodes under watch other policies, another interval, another way to recover or another group; what is not named stays.") { id, file, policy, boot, pcrs, interval, recovery, group, no };
        command.SetAction((parsed, cancel) => NodeCommands.RunAsync(surroundings, formats, parsed, parsed.GetValue(id), parsed.GetValue(file), columns, async row =>
        {
            string[] without = parsed.GetValue(no)!;
            var update = new UpdateNode
            {
                RuntimePolicy = row.GetValueOrDefault("policy") ?? parsed.GetValue(policy) ?? (without.Contains("policy") ? "" : null),
                BootPolicy = row.GetValueOrDefault("boot-policy") ?? parsed.GetValue(boot) ?? (without.Contains("boot-policy") ? "" : null),
                Pcrs = NodeOptions.ReadPcrs(parsed.GetValue(pcrs)!) ?? (without.Contains("pcrs") ? new Dictionary<string, IReadOnlyList<string>>() : null),
                IntervalSeconds = row.GetValueOrDefault("interval") is { } seconds ? NodeOptions.ReadNumber(seconds) : parsed.GetValue(interval),
                Recovery = row.GetValueOrDefault("recovery") ?? parsed.GetValue(recovery),
                Group = row.GetValueOrDefault("group") ?? parsed.GetValue(group) ?? (without.Contains("group") ? "" : null),
            };
            if (update is { RuntimePolicy: null, BootPolicy: null, Pcrs: null, IntervalSeconds: null, Recovery: null, Group: null })
                throw new CliException(Exits.Usage, "nothing is named that would change", "--policy, --boot-policy, --pcr, --interval, --recovery, --group or --no is expected");
            foreach (var (name, given) in (ReadOnlySpan<(string, bool)>)[("policy", update.RuntimePolicy is { Length: > 0 }), ("boot-policy", update.BootPolicy is { Length: > 0 }), ("pcrs", update.Pcrs is { Count: > 0 }), ("group", update.Group is { Length: > 0 })])
            {
                if (given && without.Contains(name))
                    throw new CliException(Exits.Usage, $"--no {name}, and one is given too", "one of the two is expected");
            }

            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = JsonContent.Create(update, ApiJson.Default.UpdateNode);
            return await api.SendAsync(HttpMethod.Patch, NodeCommands.PathOf(row["id"]), content, ApiJson.Default.NodeDetails, cancel);
        }, cancel));
        return command;
    }

    /// <summary>A log that is kept of a node: policies are made of it.</summary>
    public static Command Log(Surroundings surroundings, string verb, string what, string description)
    {
        var id = NodeCommands.Id();
        var output = new Option<string>("--out") { Description = "The file that it goes into.", Required = true };
        var command = new Command(verb, description) { id, output };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var bytes = await api.SendAsync(HttpMethod.Get, $"{NodeCommands.PathOf(parsed.GetValue(id)!)}/{verb}", null, cancel);
            await PolicySource.WriteFileAsync(parsed.GetValue(output)!, bytes, cancel);
            surroundings.Error.WriteLine($"{bytes.Length} bytes of {what} in {PlainText.From(parsed.GetValue(output))}");
            return Exits.Ok;
        });
        return command;
    }
}

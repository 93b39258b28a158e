using System.CommandLine;
using Keylime.Attestation;
using Keylime.Tpm;

namespace Keylime.Tenant;

/// <summary><c>keylime policy create boot</c>: a boot policy out of boots that are known to be good.</summary>
internal static class CreateBootCommand
{
    public static Command Create(Surroundings surroundings)
    {
        var logs = new Argument<string[]>("LOG") { Description = "Boot logs (binary_bios_measurements) of good boots.", Arity = ArgumentArity.ZeroOrMore };
        var nodes = new Option<string[]>("--node") { Description = "A node whose last proven boot log is taken; may be repeated.", DefaultValueFactory = _ => [] };
        var format = new Option<string>("--format") { Description = "events for our rules, keylime for upstream's reference state.", DefaultValueFactory = _ => "events" };
        format.AcceptOnlyFromAmong("events", "keylime");
        var bank = new Option<string>("--bank") { Description = "Of our rules: the bank that nodes are quoted in.", DefaultValueFactory = _ => "sha256" };
        bank.AcceptOnlyFromAmong("sha256", "sha384", "sha512");
        var about = new Option<string>("--about") { Description = "Of our rules: what the policy is for, in a line.", DefaultValueFactory = _ => "" };
        var volatiles = new Option<string[]>("--volatile") { Description = "Of our rules: a class of events that may differ, though these boots do not; may be repeated.", DefaultValueFactory = _ => [] };
        var output = CompareCommands.Out();
        var command = new Command("boot", "Make a boot policy of good boots; what differs between them is classed as volatile, or refused.") { logs, nodes, format, bank, about, volatiles, output };
        command.SetAction(async (parsed, cancel) =>
        {
            var boots = new List<BootLog>();
            foreach (var path in parsed.GetValue(logs)!)
                boots.Add(Parse(path, await PolicyCommands.ReadAsync(surroundings, path, cancel)));
            if (parsed.GetValue(nodes) is { Length: > 0 } ids)
            {
                using var api = new ServiceApi(Login.Load(surroundings));
                foreach (var id in ids)
                    boots.Add(Parse(id, await api.SendAsync(HttpMethod.Get, $"{NodeCommands.PathOf(id)}/boot-log", null, cancel)));
            }

            if (boots.Count == 0)
                throw new CliException(Exits.Usage, "no boot is given", "LOG… or --node ID is expected: the log is found at /sys/kernel/security/tpm0/binary_bios_measurements");
            _ = TpmAlgorithms.TryFromProtocolName(parsed.GetValue(bank), out var algorithm);
            var draft = parsed.GetValue(format) == "keylime"
                ? BootPolicyMaker.MakeReferenceState(boots)
                : BootPolicyMaker.MakeEventRules(boots, new BootPolicyMakerOptions { Bank = algorithm, About = parsed.GetValue(about)!, Volatile = [.. parsed.GetValue(volatiles)!] });
            if (draft is BootPolicyDraft.Refused refused)
                throw new CliException(Exits.Failed, $"no policy accepts these boots: {PlainText.From(string.Join(" ", refused.Reasons))}", "boots of one kind of machine and of one set of software are expected");

            var made = (BootPolicyDraft.Made)draft;
            foreach (var note in made.Notes)
                surroundings.Error.WriteLine($"note: {PlainText.From(note)}");
            await PolicySource.WriteAsync(surroundings, parsed.GetValue(output), made.Utf8Json, cancel);
            return Exits.Ok;
        });
        return command;
    }

    private static BootLog Parse(string name, ReadOnlyMemory<byte> bytes) => BootLog.TryParse(bytes, out var log, out var error)
        ? log
        : throw new CliException(Exits.Usage, $"{PlainText.From(name)}: {PlainText.From(error)}", "binary_bios_measurements, as the kernel has it, is expected");
}

using System.CommandLine;
using Keylime.Attestation;

namespace Keylime.Tenant;

/// <summary><c>keylime policy merge</c>, <c>diff</c> and <c>lint</c>: texts held against each other and against good sense.</summary>
internal static class CompareCommands
{
    public static Command Merge(Surroundings surroundings)
    {
        var sources = new Argument<string[]>("POLICY") { Description = PolicySource.Description, Arity = new ArgumentArity(2, 1000) };
        var output = Out();
        var command = new Command("merge", "Make one runtime policy of several: what any of them allows. The first one's settings win.") { sources, output };
        command.SetAction(async (parsed, cancel) =>
        {
            RuntimePolicyDocument? merged = null;
            foreach (var source in parsed.GetValue(sources)!)
            {
                var next = await PolicySource.ReadRuntimeAsync(surroundings, source, cancel);
                if (merged is null)
                {
                    merged = next;
                    continue;
                }

                merged = merged.Merge(next, out var notes);
                foreach (var note in notes)
                    surroundings.Error.WriteLine($"note: {PlainText.From(source)}: {PlainText.From(note)}");
            }

            await PolicySource.WriteAsync(surroundings, parsed.GetValue(output), merged!.Write(), cancel);
            return Exits.Ok;
        });
        return command;
    }

    public static Command Diff(Surroundings surroundings)
    {
        var before = new Argument<string>("BEFORE") { Description = PolicySource.Description };
        var after = new Argument<string>("AFTER") { Description = PolicySource.Description };
        var command = new Command("diff", "What differs between two policies, in words. Exit code 0 nothing, 1 something.") { before, after };
        command.SetAction(async (parsed, cancel) =>
        {
            var (old, now) = (await PolicySource.ReadAsync(surroundings, parsed.GetValue(before)!, cancel), await PolicySource.ReadAsync(surroundings, parsed.GetValue(after)!, cancel));
            var lines = BootPolicy.IsOne(old.Span) || BootPolicy.IsOne(now.Span)
                ? BootPolicyDiff.Describe(Boot(parsed.GetValue(before)!, old), Boot(parsed.GetValue(after)!, now))
                : [.. PolicySource.ParseRuntime(parsed.GetValue(before)!, old).Diff(PolicySource.ParseRuntime(parsed.GetValue(after)!, now)).Changes.Select(static c => c.ToString())];
            foreach (var line in lines)
                surroundings.Out.WriteLine(PlainText.From(line));
            return lines.IsEmpty ? Exits.Ok : Exits.Failed;
        });
        return command;
    }

    public static Command Lint(Surroundings surroundings)
    {
        var source = new Argument<string>("POLICY") { Description = PolicySource.Description };
        var command = new Command("lint", "What is wrong with a policy, or unwise in it. Exit code 0 nothing, 1 something.") { source };
        command.SetAction(async (parsed, cancel) =>
        {
            var name = parsed.GetValue(source)!;
            var text = await PolicySource.ReadAsync(surroundings, name, cancel);
            string[] lines = BootPolicy.IsOne(text.Span)
                ? BootPolicy.TryParse(text, out var boot, out var error) ? [.. boot.Warnings.Select(static w => $"warning: {w}")] : [$"error: {error}"]
                : PolicyLayerList.IsOne(text.Span) ? PolicyLayerList.TryParse(text, out _, out error) ? [] : [$"error: {error}"]
                : RuntimeLint(PolicySource.ParseRuntime(name, text), text);
            foreach (var line in lines)
                surroundings.Out.WriteLine(PlainText.From(line));
            if (lines.Length == 0)
                surroundings.Out.WriteLine("Nothing speaks against it.");
            return lines.Length == 0 ? Exits.Ok : Exits.Failed;
        });
        return command;
    }

    // The service's own reader has the last word on what is an error.
    private static string[] RuntimeLint(RuntimePolicyDocument document, ReadOnlyMemory<byte> text)
    {
        var lints = document.Lint();
        string[] refused = lints.Any(static l => l.IsError) || RuntimePolicy.TryParse(text, out _, out var error) ? [] : [$"error: {error}"];
        return [.. lints.Select(static l => $"{(l.IsError ? "error" : "warning")}: {l.Where}: {l.Detail} ({l.Code})"), .. refused];
    }

    private static BootPolicy Boot(string name, ReadOnlyMemory<byte> text) =>
        BootPolicy.TryParse(text, out var policy, out var error) ? policy
        : throw new CliException(Exits.Usage, $"{PlainText.From(name)}: {PlainText.From(error)}", "a boot policy on both sides is expected");

    internal static Option<string?> Out() => new("--out") { Description = "The file that it goes into; the standard output if left out." };
}

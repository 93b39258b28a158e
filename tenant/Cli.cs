using System.CommandLine;
using Keylime.Tenant.Payloads;

namespace Keylime.Tenant;

/// <summary>The command line: which commands there are, and how a failure is told.</summary>
internal static class Cli
{
    public static async Task<int> RunAsync(IReadOnlyList<string> args, Surroundings surroundings, CancellationToken cancel)
    {
        var parsed = Build(surroundings).Parse(CompletionCommand.Prepare(args), new ParserConfiguration { ResponseFileTokenReplacer = null });
        if (parsed.Errors is [var first, ..] && parsed.Action is not System.CommandLine.Help.HelpAction)
            return Tell(surroundings, Exits.Usage, PlainText.From(first.Message), "keylime --help tells the commands, keylime COMMAND --help their options");

        try
        {
            var configuration = new InvocationConfiguration { Output = surroundings.Out, Error = surroundings.Error, EnableDefaultExceptionHandler = false };
            return await parsed.InvokeAsync(configuration, cancel);
        }
        catch (CliException e)
        {
            return Tell(surroundings, e.Exit, e.Message, e.Hint);
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            return Exits.Ok; // somebody pressed Ctrl+C
        }
    }

    private static int Tell(Surroundings surroundings, int exit, string error, string hint)
    {
        surroundings.Error.WriteLine($"error: {error}");
        surroundings.Error.WriteLine($"hint: {hint}");
        return exit;
    }

    private static RootCommand Build(Surroundings surroundings)
    {
        var root = new RootCommand("Attests machines by their TPMs: what an operator does.");
        foreach (var help in root.Options.OfType<System.CommandLine.Help.HelpOption>())
        {
            foreach (var alias in (string[])["/h", "/?", "-?"])
                help.Aliases.Remove(alias); // of another system's shells, and in the way of completion in these
        }

        var formats = new Formats(root);
        root.Subcommands.Add(LoginCommand.Create(surroundings, formats));
        root.Subcommands.Add(LogoutCommand.Create(surroundings));
        root.Subcommands.Add(NodeCommands.Create(surroundings, formats));
        root.Subcommands.Add(PolicyCommands.Create(surroundings, formats));
        root.Subcommands.Add(WatchCommand.Create(surroundings, formats));
        root.Subcommands.Add(EventCommands.Create(surroundings, formats));
        root.Subcommands.Add(TrustCommands.Create(surroundings, formats));
        root.Subcommands.Add(EndorsementKeyCommands.Create(surroundings, formats));
        root.Subcommands.Add(RuleCommands.Create(surroundings, formats));
        root.Subcommands.Add(WebhookCommands.Create(surroundings, formats));
        root.Subcommands.Add(NoticeCommands.Create(surroundings, formats));
        root.Subcommands.Add(PayloadCommands.Create(surroundings, formats));
        root.Subcommands.Add(TokenCommands.Create(surroundings, formats));
        root.Subcommands.Add(DoctorCommand.Create(surroundings, formats));
        root.Subcommands.Add(CompletionCommand.Create(surroundings));
        return root;
    }
}

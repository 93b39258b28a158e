using System.CommandLine;

namespace Keylime.Tenant;

/// <summary><c>keylime policy create runtime</c>, and <c>keylime policy make</c>, its older name for one source.</summary>
internal static class CreateRuntimeCommand
{
    public static Command Create(Surroundings surroundings, Formats formats)
    {
        var options = new CreateRuntimeOptions();
        var command = new Command("runtime", "Make a runtime policy, from any mix of sources.");
        foreach (var option in options.All)
            command.Options.Add(option);
        command.SetAction((parsed, cancel) => RunAsync(surroundings, formats, parsed, options, cancel));
        return command;
    }

    public static Command CreateMake(Surroundings surroundings, Formats formats)
    {
        var options = new CreateRuntimeOptions();
        options.ImaLog.Aliases.Add("--from-log");
        var command = new Command("make", "The same as create runtime; --from-log is its --ima-log.");
        foreach (var option in options.All)
            command.Options.Add(option);
        command.SetAction((parsed, cancel) => RunAsync(surroundings, formats, parsed, options, cancel));
        return command;
    }

    private static async Task<int> RunAsync(Surroundings surroundings, Formats formats, ParseResult parsed, CreateRuntimeOptions options, CancellationToken cancel)
    {
        var maker = new RuntimePolicyMaker(surroundings, parsed, options);
        var draft = await maker.MakeAsync(cancel);
        var json = draft.Document.Write();
        foreach (var note in draft.Notes)
            surroundings.Error.WriteLine($"warning: {PlainText.From(note)}");
        if (parsed.GetValue(options.Out) is not { } path)
        {
            await surroundings.Out.WriteAsync(System.Text.Encoding.UTF8.GetString(json));
            return Exits.Ok;
        }

        await NewFile.WriteAsync(path, json, cancel);
        PolicyMade.Write(surroundings, formats.IsJson(parsed), path, json, draft);
        return Exits.Ok;
    }
}

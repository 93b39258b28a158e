using System.CommandLine;
using System.Net.Http.Headers;
using System.Text;
using Keylime.Protocol;

namespace Keylime.Tenant;

/// <summary><c>keylime policy …</c>.</summary>
internal static class PolicyCommands
{
    public static Command Create(Surroundings surroundings, Formats formats) => new("policy", "Runtime policies: what nodes may run.")
    {
        Put(surroundings, formats),
        Get(surroundings),
        List(surroundings, formats),
        Delete(surroundings),
        Make(surroundings),
    };

    private static Command Put(Surroundings surroundings, Formats formats)
    {
        var (name, file) = (Name(), new Argument<string>("FILE") { Description = "Keylime's JSON; - reads the standard input." });
        var command = new Command("put", "Store a policy, or replace it.") { name, file };
        command.SetAction(async (parsed, cancel) =>
        {
            var path = PathOf(parsed.GetValue(name)!);
            using var content = new ByteArrayContent(await ReadAsync(surroundings, parsed.GetValue(file)!, cancel));
            content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            using var api = new ServiceApi(Login.Load(surroundings));
            var policy = await api.SendAsync(HttpMethod.Put, path, content, ApiJson.Default.PolicySummary, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, policy, ApiJson.Default.PolicySummary);
            else
                surroundings.Out.WriteLine($"{PlainText.From(policy.Name)}: {policy.Paths} paths, {policy.Excludes} excludes, digest {PlainText.From(policy.Digest)}");
            foreach (var warning in policy.Warnings)
                surroundings.Error.WriteLine($"warning: {PlainText.From(warning)}");
            return Exits.Ok;
        });
        return command;
    }

    private static Command Get(Surroundings surroundings)
    {
        var name = Name();
        var command = new Command("get", "Write a policy's JSON, as it was put.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var text = await api.SendAsync(HttpMethod.Get, PathOf(parsed.GetValue(name)!), null, cancel);
            await surroundings.Out.WriteAsync(Encoding.UTF8.GetString(text));
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var command = new Command("list", "All policies.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var policies = await api.PoliciesAsync(cancel);
            Output.WriteList(surroundings, formats, parsed, policies, ApiJson.Default.PolicyList, ["policy", "paths", "excludes", "bytes", "updated", "digest"], policies.Policies.Select(static p => (string?[])
                [p.Name, $"{p.Paths}", $"{p.Excludes}", $"{p.Size}", Output.Time(p.UpdatedAt), p.Digest]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Delete(Surroundings surroundings)
    {
        var name = Name();
        var command = new Command("delete", "Forget a policy that no node uses.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, PathOf(parsed.GetValue(name)!), null, cancel);
            return Exits.Ok;
        });
        return command;
    }

    private static Command Make(Surroundings surroundings)
    {
        var log = new Option<string>("--from-log") { Description = "An ASCII measurement list of IMA; - reads the standard input.", Required = true };
        var excludes = new Option<string[]>("--exclude") { Description = "A regular expression of paths that are not judged; may be repeated.", DefaultValueFactory = _ => [] };
        var output = new Option<string?>("--out") { Description = "Where the policy goes; the standard output if left out." };
        var command = new Command("make", "Make a policy that allows exactly what a list has measured.") { log, excludes, output };
        command.SetAction(async (parsed, cancel) =>
        {
            var made = PolicyFromLog.Make(await ReadAsync(surroundings, parsed.GetValue(log)!, cancel), parsed.GetValue(excludes)!, surroundings.Clock.GetUtcNow());
            foreach (var warning in made.Warnings)
                surroundings.Error.WriteLine($"warning: {PlainText.From(warning)}");
            if (parsed.GetValue(output) is { } path)
                await File.WriteAllBytesAsync(path, made.Json, cancel);
            else
                await surroundings.Out.WriteAsync(Encoding.UTF8.GetString(made.Json));
            return Exits.Ok;
        });
        return command;
    }

    private static async Task<byte[]> ReadAsync(Surroundings surroundings, string path, CancellationToken cancel)
    {
        try
        {
            if (path != "-")
                return await File.ReadAllBytesAsync(path, cancel);
            using var all = new MemoryStream();
            await surroundings.In.CopyToAsync(all, cancel);
            return all.ToArray();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, PlainText.From(e.Message), "a file that can be read is expected");
        }
    }

    private static string PathOf(string name) => AgentId.TryParse(name, null, out var valid)
        ? $"/v1/policies/{valid}"
        : throw new CliException(Exits.Usage, $"'{PlainText.From(name)}' is no policy's name", "1 to 80 of A-Z a-z 0-9 _ . - are expected");

    private static Argument<string> Name() => new("NAME") { Description = "The policy's name." };
}

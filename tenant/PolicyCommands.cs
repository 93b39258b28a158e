using System.CommandLine;
using System.Net.Http.Headers;
using System.Text;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime policy …</c>.</summary>
internal static class PolicyCommands
{
    public static Command Create(Surroundings surroundings, Formats formats) => new("policy", "Policies: what nodes may boot, and what they may run.")
    {
        Put(surroundings, formats),
        Get(surroundings),
        List(surroundings, formats),
        Delete(surroundings),
        PolicyStoreCommands.Versions(surroundings, formats),
        PolicyStoreCommands.Approve(surroundings, formats),
        PolicyStoreCommands.Signer(surroundings, formats),
        CreateCommands.Create(surroundings, formats),
        CreateRuntimeCommand.CreateMake(surroundings, formats),
        CompareCommands.Merge(surroundings),
        CompareCommands.Diff(surroundings),
        CompareCommands.Lint(surroundings),
        SigningCommands.Sign(surroundings),
        SigningCommands.Verify(surroundings),
        TrialCommands.Test(surroundings, formats),
    };

    private static Command Put(Surroundings surroundings, Formats formats)
    {
        var (name, file) = (Name(), new Argument<string>("FILE") { Description = "Keylime's JSON or ours, bare or signed; - reads the standard input." });
        var group = new Option<string?>("--group") { Description = "The group of nodes that it is for, whose operators may change it; empty for all. Left out, it stays as it is." };
        var command = new Command("put", "Store a policy, or replace it.") { name, file, group };
        command.SetAction(async (parsed, cancel) =>
        {
            var path = PathOf(parsed.GetValue(name)!) + (parsed.GetValue(group) is { } owner ? $"?group={Uri.EscapeDataString(owner)}" : "");
            using var content = new ByteArrayContent(await ReadAsync(surroundings, parsed.GetValue(file)!, cancel));
            content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            using var api = new ServiceApi(Login.Load(surroundings));
            var policy = await api.SendAsync(HttpMethod.Put, path, content, ApiJson.Default.PolicySummary, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, policy, ApiJson.Default.PolicySummary);
            else if (formats.IsCsv(parsed))
                WriteList(surroundings, formats, parsed, new PolicyList([policy]));
            else
                surroundings.Out.WriteLine(Describe(policy));
            foreach (var warning in policy.Warnings)
                surroundings.Error.WriteLine($"warning: {PlainText.From(warning)}");
            return Exits.Ok;
        });
        return command;
    }

    private static Command Get(Surroundings surroundings)
    {
        var name = Name();
        var digest = new Option<string?>("--digest") { Description = "An earlier text, by its SHA-256 in hex." };
        var command = new Command("get", "Write a policy's JSON, as it was put.") { name, digest };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var text = await api.SendAsync(HttpMethod.Get, PathOf(parsed.GetValue(name)!) + (parsed.GetValue(digest) is { } version ? $"?digest={Uri.EscapeDataString(version)}" : ""), null, cancel);
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
            WriteList(surroundings, formats, parsed, policies);
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

    private static void WriteList(Surroundings surroundings, Formats formats, ParseResult parsed, PolicyList policies) =>
        Output.WriteList(surroundings, formats, parsed, policies, ApiJson.Default.PolicyList, ["policy", "kind", "group", "paths", "excludes", "bytes", "updated", "signed by", "digest", "waits for approval"], policies.Policies.Select(static p => (string?[])
            [p.Name, p.Kind.ToString().ToLowerInvariant(), p.Group, $"{p.Paths}", $"{p.Excludes}", $"{p.Size}", Output.Time(p.UpdatedAt), string.Join(", ", p.Signers), p.Digest, p.ProposedDigest]));

    internal static async Task<byte[]> ReadAsync(Surroundings surroundings, string path, CancellationToken cancel)
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

    private static string Describe(PolicySummary policy)
    {
        var what = policy.Kind == PolicyKind.Boot ? "a boot policy" : $"{policy.Paths} paths, {policy.Excludes} excludes";
        return policy.ProposedDigest is { } proposed
            ? $"{PlainText.From(policy.Name)}: waits for approval: keylime policy approve {PlainText.From(policy.Name)} --digest {PlainText.From(proposed)}"
            : $"{PlainText.From(policy.Name)}: {what}, digest {PlainText.From(policy.Digest)}";
    }

    internal static string PathOf(string name) => AgentId.TryParse(name, null, out var valid)
        ? $"/v1/policies/{valid}"
        : throw new CliException(Exits.Usage, $"'{PlainText.From(name)}' is no policy's name", "1 to 80 of A-Z a-z 0-9 _ . - are expected");

    internal static Argument<string> Name() => new("NAME") { Description = "The policy's name." };
}

using System.CommandLine;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime policy …</c>, of who put, signed and approved the texts that the service keeps.</summary>
internal static class PolicyStoreCommands
{
    public static Command Approve(Surroundings surroundings, Formats formats)
    {
        var name = PolicyCommands.Name();
        var digest = new Option<string>("--digest") { Description = "SHA-256 of the text that you have looked at, in hex: another one is refused.", Required = true };
        var command = new Command("approve", "Bring a policy's proposed text into force, where somebody else put it.") { name, digest };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = JsonContent.Create(new ApprovePolicy(parsed.GetValue(digest)!), ApiJson.Default.ApprovePolicy);
            var policy = await api.SendAsync(HttpMethod.Post, PolicyCommands.PathOf(parsed.GetValue(name)!) + "/approve", content, ApiJson.Default.PolicySummary, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, policy, ApiJson.Default.PolicySummary);
            else
                surroundings.Out.WriteLine($"{PlainText.From(policy.Name)}: {PlainText.From(policy.Digest)} is in force");
            return Exits.Ok;
        });
        return command;
    }

    public static Command Versions(Surroundings surroundings, Formats formats)
    {
        var name = PolicyCommands.Name();
        var command = new Command("versions", "The texts that were in force under a name, newest first.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync(PolicyCommands.PathOf(parsed.GetValue(name)!) + "/versions", ApiJson.Default.PolicyVersionList, cancel);
            Output.WriteList(surroundings, formats, parsed, list, ApiJson.Default.PolicyVersionList, ["in force", "digest", "put by", "signed by", "approved by"],
                list.Versions.Select(static v => (string?[])[Output.Time(v.InForceAt), v.Digest, v.PutBy, string.Join(", ", v.Signers), v.ApprovedBy]));
            return Exits.Ok;
        });
        return command;
    }

    public static Command Signer(Surroundings surroundings, Formats formats)
    {
        var name = new Argument<string>("NAME") { Description = "The signer's name; that of their token, where they have one, so that nobody approves what they signed." };
        var file = new Argument<string>("FILE") { Description = "A public key, or a certificate, in PEM." };
        var add = new Command("add", "Trust somebody to sign policies. For approvers.") { name, file };
        add.SetAction(async (parsed, cancel) =>
        {
            using var content = new ByteArrayContent(await PolicyCommands.ReadAsync(surroundings, parsed.GetValue(file)!, cancel));
            content.Headers.ContentType = new MediaTypeHeaderValue("application/x-pem-file");
            using var api = new ServiceApi(Login.Load(surroundings));
            var signer = await api.SendAsync(HttpMethod.Put, PathOf(parsed.GetValue(name)!), content, ApiJson.Default.PolicySigner, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, signer, ApiJson.Default.PolicySigner);
            else
                surroundings.Out.WriteLine($"{PlainText.From(signer.Name)}: {PlainText.From(signer.Kind)} {PlainText.From(signer.Fingerprint)}");
            return Exits.Ok;
        });

        var list = new Command("list", "Whose signatures make policies valid.");
        list.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var signers = await api.GetAsync("/v1/policy-signers", ApiJson.Default.PolicySignerList, cancel);
            Output.WriteList(surroundings, formats, parsed, signers, ApiJson.Default.PolicySignerList, ["signer", "kind", "added", "by", "fingerprint"],
                signers.Signers.Select(static s => (string?[])[s.Name, s.Kind, Output.Time(s.AddedAt), s.AddedBy, s.Fingerprint]));
            return Exits.Ok;
        });

        var which = new Argument<string>("NAME") { Description = "The signer's name." };
        var remove = new Command("remove", "Trust somebody no more to sign policies. For approvers.") { which };
        remove.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, PathOf(parsed.GetValue(which)!), null, cancel);
            return Exits.Ok;
        });
        return new Command("signer", "Whose signatures make policies valid.") { add, list, remove };
    }

    private static string PathOf(string name) => AgentId.TryParse(name, null, out var valid)
        ? $"/v1/policy-signers/{valid}"
        : throw new CliException(Exits.Usage, $"'{PlainText.From(name)}' is no signer's name", "1 to 80 of A-Z a-z 0-9 _ . - are expected");
}

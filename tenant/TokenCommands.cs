using System.Buffers.Text;
using System.CommandLine;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime token …</c>: who may administer, approve and read.</summary>
internal static class TokenCommands
{
    public static Command Create(Surroundings surroundings, Formats formats) => new("token", "Tokens of people and programs.")
    {
        Make(surroundings, formats),
        Prepare(surroundings),
        List(surroundings, formats),
        Revoke(surroundings),
    };

    private static Command Make(Surroundings surroundings, Formats formats)
    {
        var name = new Argument<string>("NAME") { Description = "The token's name." };
        var role = new Option<string>("--role") { Description = "operator, approver or auditor.", Required = true };
        role.AcceptOnlyFromAmong("operator", "approver", "auditor");
        var days = new Option<int?>("--days") { Description = "How long it lives; 90 if left out." };
        var group = new Option<string?>("--group") { Description = "The one group of nodes that the role is for; the whole service if left out." };
        var file = new Option<string>("--token-file") { Description = "Where the token is written, for its owner only.", Required = true };
        var command = new Command("create", "Make a token.") { name, role, group, days, file };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var asked = new CreateToken(parsed.GetValue(name)!, Enum.Parse<AccessRole>(parsed.GetValue(role)!, ignoreCase: true)) { Days = parsed.GetValue(days), Group = parsed.GetValue(group) };
            using var content = JsonContent.Create(asked, ApiJson.Default.CreateToken);
            await using var target = Surroundings.CreatePrivateFile(parsed.GetValue(file)!); // before the token is: it is told only once
            var made = await api.SendAsync(HttpMethod.Post, "/v1/tokens", content, ApiJson.Default.CreatedToken, cancel);
            await target.WriteAsync(Encoding.ASCII.GetBytes(made.Token + "\n"), cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, made with { Token = "" }, ApiJson.Default.CreatedToken);
            else
                surroundings.Out.WriteLine($"{PlainText.From(made.Name)}: {parsed.GetValue(role)}{(made.Group is null ? "" : $" of the group {PlainText.From(made.Group)}")}, until {Output.Time(made.ExpiresAt)}; kept in {PlainText.From(parsed.GetValue(file))}");
            return Exits.Ok;
        });
        return command;
    }

    // Asks no service: it is for one that is about to be deployed.
    private static Command Prepare(Surroundings surroundings)
    {
        var name = new Argument<string>("NAME") { Description = "The token's name." };
        var file = new Option<string>("--token-file") { Description = "Where the token is written, for its owner only.", Required = true };
        var command = new Command("prepare", "Make the first operator's token of a service that is not there yet, and print what to set as its --operator-token.") { name, file };
        command.SetAction(async (parsed, cancel) =>
        {
            if (!AgentId.TryParse(parsed.GetValue(name), null, out var named) || named.ToString().StartsWith("eyJ", StringComparison.Ordinal)) // as tokens of Entra ID begin
                throw new CliException(Exits.Usage, "NAME is no name of a token", "1 to 80 of A-Z a-z 0-9 _ . - are expected");
            var token = Encoding.ASCII.GetBytes($"{named}.{Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(32))}");
            await using var target = Surroundings.CreatePrivateFile(parsed.GetValue(file)!);
            await target.WriteAsync((byte[])[.. token, (byte)'\n'], cancel);
            surroundings.Out.WriteLine($"{named}:{Convert.ToHexStringLower(SHA256.HashData(token))}");
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var command = new Command("list", "All tokens, without their secrets.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync("/v1/tokens", ApiJson.Default.TokenList, cancel);
            Output.WriteList(surroundings, formats, parsed, list, ApiJson.Default.TokenList, ["token", "role", "group", "created", "expires"],
                list.Tokens.Select(static t => (string?[])[t.Name, t.Role.ToString().ToLowerInvariant(), t.Group, Output.Time(t.CreatedAt), t.ExpiresAt is { } end ? Output.Time(end) : "never"]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Revoke(Surroundings surroundings)
    {
        var name = new Argument<string>("NAME") { Description = "The token's name." };
        var command = new Command("revoke", "Revoke a token, at once.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, $"/v1/tokens/{Uri.EscapeDataString(parsed.GetValue(name)!)}", null, cancel);
            return Exits.Ok;
        });
        return command;
    }
}

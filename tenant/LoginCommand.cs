using System.CommandLine;
using Keylime.Protocol;

namespace Keylime.Tenant;

/// <summary><c>keylime login</c>.</summary>
internal static class LoginCommand
{
    public static Command Create(Surroundings surroundings, Formats formats)
    {
        var url = new Option<string>("--url") { Description = "The service, https://HOST:PORT.", Required = true };
        var ca = new Option<string>("--ca") { Description = "The CA of its certificate, a file in PEM: ca.pem of its data directory.", Required = true };
        var token = new Option<string>("--token-file") { Description = "A file with the operator's token: operator.token of its data directory.", Required = true };
        var command = new Command("login", "Remember a service, once it has answered.") { url, ca, token };
        command.SetAction(async (parsed, cancel) =>
        {
            var login = new Login(
                Login.ParseUrl(parsed.GetValue(url)!, "--url"),
                Login.ReadText(parsed.GetValue(ca)!, "--ca"),
                Login.ReadText(parsed.GetValue(token)!, "--token-file").Trim());
            using var api = new ServiceApi(login);
            var health = await api.GetAsync("/health", ApiJson.Default.Health, cancel);
            await api.GetAsync("/v1/nodes?limit=1", ApiJson.Default.NodeList, cancel); // whether the token opens it
            login.Save(surroundings);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, health, ApiJson.Default.Health);
            else
                surroundings.Out.WriteLine($"Logged in to {login.Url} ({PlainText.From(health.Version)}); kept in {Login.PathIn(surroundings)}.");
            return Exits.Ok;
        });
        return command;
    }
}

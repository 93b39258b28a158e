using System.CommandLine;
using Keylime.Protocol;
using Keylime.Tenant.Entra;

namespace Keylime.Tenant;

/// <summary><c>keylime login</c>.</summary>
internal static class LoginCommand
{
    public static Command Create(Surroundings surroundings, Formats formats)
    {
        var url = new Option<string>("--url") { Description = "The service, https://HOST:PORT.", Required = true };
        var ca = new Option<string?>("--ca") { Description = "The CA of its certificate, a file in PEM: ca.pem of its data directory. Without it, those that the system trusts." };
        var token = new Option<string?>("--token-file") { Description = "A file with the operator's token: operator.token of its data directory." };
        var entra = new EntraOptions();
        var command = new Command("login", "Remember a service, once it has answered.") { url, ca, token };
        foreach (var option in entra.All)
            command.Options.Add(option);
        command.SetAction(async (parsed, cancel) =>
        {
            var (file, signsIn) = (parsed.GetValue(token), entra.IsAsked(parsed));
            if (signsIn == (file is not null))
                throw new CliException(Exits.Usage, "either --token-file or --entra is expected", "keylime login --url URL --ca FILE --token-file FILE, or keylime login --entra --url URL");
            var login = new Login(
                Login.ParseUrl(parsed.GetValue(url)!, "--url"),
                parsed.GetValue(ca) is { } authority ? Login.ReadText(authority, "--ca") : null,
                file is null ? null : Login.ReadText(file, "--token-file").Trim());
            if (signsIn)
                login = login with { Entra = await entra.SignInAsync(surroundings, parsed, login, cancel) };
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

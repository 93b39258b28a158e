using System.CommandLine;
using System.Net.Http.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime ek …</c>: the operator's own list of endorsement keys.</summary>
internal static class EndorsementKeyCommands
{
    private const int AtOnce = 5_000;
    private static readonly string[] Columns = ["hash", "agent", "note"];

    public static Command Create(Surroundings surroundings, Formats formats) => new("ek", "Endorsement keys that are known: the list of the kind 'ek-list'.")
    {
        Import(surroundings, formats),
        List(surroundings, formats),
        Remove(surroundings),
    };

    private static Command Import(Surroundings surroundings, Formats formats)
    {
        var file = new Argument<string>("FILE") { Description = "CSV with the columns hash, agent, note, of which hash is needed; - reads the standard input." };
        var command = new Command("import", "Put endorsement keys on the list.") { file };
        command.SetAction(async (parsed, cancel) =>
        {
            var keys = Csv.Read(await surroundings.ReadTextAsync(parsed.GetValue(file)!, cancel), Columns)
                .Select(static row => new KnownKey(row.Values.GetValueOrDefault("hash") ?? throw new CliException(Exits.Usage, $"line {row.Line}: no hash", "keylime-agent identity prints a machine's"))
                {
                    Agent = row.Values.GetValueOrDefault("agent"),
                    Note = row.Values.GetValueOrDefault("note"),
                }).ToArray();
            using var api = new ServiceApi(Login.Load(surroundings));
            var all = new ImportedKnownKeys(0, 0, 0);
            foreach (var some in keys.Chunk(AtOnce))
            {
                using var content = JsonContent.Create(new ImportKnownKeys(some), ApiJson.Default.ImportKnownKeys);
                var done = await api.SendAsync(HttpMethod.Post, "/v1/known-keys", content, ApiJson.Default.ImportedKnownKeys, cancel);
                all = new ImportedKnownKeys(all.Added + done.Added, all.Replaced + done.Replaced, all.Unchanged + done.Unchanged);
            }

            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, all, ApiJson.Default.ImportedKnownKeys);
            else
                surroundings.Out.WriteLine($"{all.Added} added, {all.Replaced} replaced, {all.Unchanged} unchanged");
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var command = new Command("list", "All endorsement keys of the list.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var keys = await api.AllAsync("/v1/known-keys", "", ApiJson.Default.KnownKeyList, static p => p.Keys, static p => p.Next, cancel);
            Output.WriteList(surroundings, formats, parsed, new KnownKeyList(keys), ApiJson.Default.KnownKeyList, Columns, keys.Select(static k => (string?[])[k.Hash, k.Agent, k.Note]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Remove(Surroundings surroundings)
    {
        var hash = new Argument<string>("HASH") { Description = "The key's hash." };
        var command = new Command("remove", "Take an endorsement key from the list.") { hash };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, $"/v1/known-keys/{Uri.EscapeDataString(parsed.GetValue(hash)!)}", null, cancel);
            return Exits.Ok;
        });
        return command;
    }
}

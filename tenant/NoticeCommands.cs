using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime notice …</c>: what machines are told of each other.</summary>
internal static class NoticeCommands
{
    private const int DefaultLimit = 20;
    private const int PageSize = 1000;

    public static Command Create(Surroundings surroundings, Formats formats) => new("notice", "Notices: what machines are told of each other.")
    {
        List(surroundings, formats),
        Key(surroundings, formats),
    };

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var limit = new Option<int>("--limit") { Description = "So many at most.", DefaultValueFactory = static _ => DefaultLimit };
        var command = new Command("list", "Notices, newest first.") { limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var all = new List<PostedNotice>();
            string? after = null;
            do
            {
                var count = Math.Clamp(parsed.GetValue(limit) - all.Count, 1, PageSize).ToString(CultureInfo.InvariantCulture);
                var some = await api.GetAsync($"/v1/notices?limit={count}{(after is null ? "" : "&after=" + Uri.EscapeDataString(after))}", ApiJson.Default.NoticeList, cancel);
                all.AddRange(some.Notices);
                after = some.Next;
            }
            while (after is not null && all.Count < parsed.GetValue(limit));
            Output.WriteList(surroundings, formats, parsed, new NoticeList(all), ApiJson.Default.NoticeList, ["number", "at", "type", "node", "signed", "event"], all.Select(static n => (string?[])
            [
                n.Notice.Number.ToString(CultureInfo.InvariantCulture), Output.Time(n.Notice.At), n.Notice.Type, n.Notice.Node, n.IsSigned ? "yes" : "no: the vault did not answer", n.Notice.Id,
            ]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Key(Surroundings surroundings, Formats formats)
    {
        var command = new Command("key", "The public key that signs notices, in PEM: for agents' notice_key.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var key = await api.GetAsync("/v1/notices/key", ApiJson.Default.VaultKeyMessage, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, key, ApiJson.Default.VaultKeyMessage);
            else
                surroundings.Out.WriteLine(PemEncoding.WriteString("PUBLIC KEY", key.PublicKey));
            return Exits.Ok;
        });
        return command;
    }
}

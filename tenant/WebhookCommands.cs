using System.CommandLine;
using System.Globalization;
using System.Net.Http.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime webhook …</c>: who is told of events.</summary>
internal static class WebhookCommands
{
    private const int DefaultLimit = 20;
    private const int MaxPage = 1000;

    public static Command Create(Surroundings surroundings, Formats formats) => new("webhook", "Webhooks: who is told of events.")
    {
        Add(surroundings, formats),
        List(surroundings, formats),
        Test(surroundings, formats),
        Rotate(surroundings, formats),
        Remove(surroundings),
        Deliveries(surroundings, formats),
        Replay(surroundings, formats),
    };

    private static Command Add(Surroundings surroundings, Formats formats)
    {
        var url = new Argument<string>("URL") { Description = "Where messages are sent to: https." };
        var name = new Option<string?>("--name") { Description = "What it is called; the URL's host if left out. One of that name is changed, and keeps its secret." };
        var events = new Option<string[]>("--events") { Description = "Types of events, node.failed, or families, node.*; all if left out.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = static _ => [] };
        var nodes = new Option<string?>("--nodes") { Description = "Only events of nodes whose id starts with this." };
        var group = new Option<string?>("--group") { Description = "Only events of nodes of this group." };
        var severity = new Option<string?>("--severity") { Description = "Only events that matter as much, or more: info, warning or critical." };
        severity.AcceptOnlyFromAmong("info", "warning", "critical");
        var secretFile = new Option<string?>("--secret-file") { Description = "A file with the secret, whsec_…; one is made and told if left out." };
        var command = new Command("add", "Add a webhook, or change one.") { url, name, events, nodes, group, severity, secretFile };
        command.SetAction(async (parsed, cancel) =>
        {
            // whether http will do, the service knows
            if (!Uri.TryCreate(parsed.GetValue(url), UriKind.Absolute, out var target) || (target.Scheme != Uri.UriSchemeHttps && target.Scheme != Uri.UriSchemeHttp))
                throw new CliException(Exits.Usage, $"URL: '{PlainText.From(parsed.GetValue(url))}' is no https URL", "for example https://siem.example.org/keylime");
            var webhook = new WebhookMessage(target)
            {
                Events = parsed.GetValue(events) is { Length: > 0 } given ? [.. given.SelectMany(static e => e.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))] : null,
                Nodes = parsed.GetValue(nodes),
                Group = parsed.GetValue(group),
                Severity = parsed.GetValue(severity) is { } least ? Enum.Parse<EventSeverity>(least, ignoreCase: true) : null,
                Secret = parsed.GetValue(secretFile) is { } file ? Login.ReadText(file, "--secret-file").Trim() : null,
            };
            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = JsonContent.Create(webhook, ApiJson.Default.WebhookMessage);
            var put = await api.SendAsync(HttpMethod.Put, PathOf(parsed.GetValue(name) ?? target.IdnHost.Trim('[', ']').Replace(':', '-')), content, ApiJson.Default.NamedWebhook, cancel);
            WriteSecret(surroundings, formats, parsed, put);
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var command = new Command("list", "All webhooks.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync("/v1/webhooks", ApiJson.Default.WebhookList, cancel);
            Output.WriteList(surroundings, formats, parsed, list, ApiJson.Default.WebhookList, ["webhook", "url", "events", "nodes", "group", "severity", "created", "by", "disabled"], list.Webhooks.Select(static w => (string?[])
            [
                w.Name, w.Webhook.Url.ToString(), w.Webhook.Events is { } events ? string.Join(' ', events) : "all", w.Webhook.Nodes is { } prefix ? prefix + "…" : null, w.Webhook.Group,
                w.Webhook.Severity?.ToString().ToLowerInvariant(), Output.Time(w.CreatedAt), w.CreatedBy, Output.Time(w.DisabledAt),
            ]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Test(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var command = new Command("test", "Send a test message, and say what the receiver answers.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var trial = await api.SendAsync(HttpMethod.Post, PathOf(parsed.GetValue(name)!) + "/test", null, ApiJson.Default.WebhookTrial, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, trial, ApiJson.Default.WebhookTrial);
            else
                Output.WriteFields(surroundings, ("delivered", trial.Delivered ? "yes" : "no"), ("status", Number(trial.Status)), ("error", trial.Error), ("milliseconds", Number(trial.Milliseconds)));
            return trial.Delivered ? Exits.Ok : throw new CliException(Exits.Failed, "the receiver did not take the test message", "it must answer with a status from 200 to 299 within 10 s");
        });
        return command;
    }

    private static Command Rotate(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var former = new Option<int?>("--former-hours") { Description = "How long the former secret signs too, 0 to 168; 24 if left out." };
        var secretFile = new Option<string?>("--secret-file") { Description = "A file with the new secret, whsec_…; one is made and told if left out." };
        var command = new Command("rotate", "Give a webhook another secret.") { name, former, secretFile };
        command.SetAction(async (parsed, cancel) =>
        {
            var rotate = new RotateWebhook { FormerHours = parsed.GetValue(former), Secret = parsed.GetValue(secretFile) is { } file ? Login.ReadText(file, "--secret-file").Trim() : null };
            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = JsonContent.Create(rotate, ApiJson.Default.RotateWebhook);
            WriteSecret(surroundings, formats, parsed, await api.SendAsync(HttpMethod.Post, PathOf(parsed.GetValue(name)!) + "/rotate", content, ApiJson.Default.NamedWebhook, cancel));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Remove(Surroundings surroundings)
    {
        var name = Name();
        var command = new Command("remove", "Remove a webhook; what waits for it is dropped.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, PathOf(parsed.GetValue(name)!), null, cancel);
            return Exits.Ok;
        });
        return command;
    }

    private static Command Deliveries(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var limit = new Option<int>("--limit") { Description = "So many at most, of what waits and of what is over.", DefaultValueFactory = static _ => DefaultLimit };
        var command = new Command("deliveries", "What waits for a webhook, oldest first, and then what was delivered or given up, newest first.") { name, limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var query = $"?limit={Number(Math.Clamp(parsed.GetValue(limit), 1, MaxPage))}";
            var waiting = await api.GetAsync(PathOf(parsed.GetValue(name)!) + "/pending" + query, ApiJson.Default.DeliveryList, cancel);
            var over = await api.GetAsync(PathOf(parsed.GetValue(name)!) + "/deliveries" + query, ApiJson.Default.DeliveryList, cancel);
            var all = new DeliveryList([.. waiting.Deliveries, .. over.Deliveries]);
            Output.WriteList(surroundings, formats, parsed, all, ApiJson.Default.DeliveryList, ["event", "subject", "at", "state", "attempts", "last", "status", "ms", "next", "error", "id"], all.Deliveries.Select(static d => (string?[])
            [
                d.Type, d.Subject, Output.Time(d.At), d.State.ToString().ToLowerInvariant(), Number(d.Attempts), Output.Time(d.AttemptedAt), Number(d.Status), Number(d.Milliseconds),
                Output.Time(d.DueAt), d.Error, d.Id,
            ]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Replay(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var since = new Option<string>("--since") { Description = "From this time on, 2026-11-24T12:00:00Z.", Required = true };
        var command = new Command("replay", "Send events once more, with the ids that they had.") { name, since };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var replayed = await api.SendAsync(
                HttpMethod.Post, $"{PathOf(parsed.GetValue(name)!)}/replay?since={Uri.EscapeDataString(parsed.GetValue(since)!)}", null, ApiJson.Default.ReplayedEvents, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, replayed, ApiJson.Default.ReplayedEvents);
            else
                Output.WriteFields(surroundings, ("events", Number(replayed.Events)));
            return Exits.Ok;
        });
        return command;
    }

    private static Argument<string> Name() => new("NAME") { Description = "The webhook's name." };

    private static string PathOf(string name) => $"/v1/webhooks/{Uri.EscapeDataString(name)}";

    private static string? Number(long? number) => number?.ToString(CultureInfo.InvariantCulture);

    private static void WriteSecret(Surroundings surroundings, Formats formats, ParseResult parsed, NamedWebhook webhook)
    {
        if (formats.IsJson(parsed))
        {
            Output.WriteJson(surroundings, webhook, ApiJson.Default.NamedWebhook);
        }
        else
        {
            Output.WriteFields(surroundings, ("webhook", webhook.Name), ("url", webhook.Webhook.Url.ToString()), ("secret", webhook.Webhook.Secret is { } secret ? $"{secret} (told once)" : null),
                ("former until", webhook.FormerSecretUntil is { } until ? Output.Time(until) : null));
        }
    }
}

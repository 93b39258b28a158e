using System.CommandLine;
using System.Net.Http.Json;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime rule …</c>: who is admitted without an operator's hand.</summary>
internal static class RuleCommands
{
    public static Command Create(Surroundings surroundings, Formats formats) => new("rule", "Enrolment rules: who is admitted without an operator's hand.")
    {
        Put(surroundings, formats),
        List(surroundings, formats),
        Delete(surroundings),
    };

    private static Command Put(Surroundings surroundings, Formats formats)
    {
        var name = new Argument<string>("NAME") { Description = "The rule's name; rules are asked in the order of their names." };
        var kind = new Option<string>("--kind") { Description = "ek-list, certificate or webhook.", Required = true };
        kind.AcceptOnlyFromAmong("ek-list", "certificate", "webhook");
        var issuer = new Option<string?>("--issuer") { Description = "Of certificate: what the issuer's name must contain." };
        var manufacturer = new Option<string?>("--manufacturer") { Description = "Of certificate: the TPM's manufacturer, id:XXXXXXXX." };
        var model = new Option<string?>("--model") { Description = "Of certificate: what the TPM's model must start with." };
        var version = new Option<string?>("--tpm-version") { Description = "Of certificate: the version of the TPM's firmware that was certified, id:XXXXXXXX." };
        var url = new Option<string?>("--url") { Description = "Of webhook: where to ask." };
        var secretFile = new Option<string?>("--secret-file") { Description = "Of webhook: a file with the secret, whsec_…; one is made and told if left out." };
        var timeout = new Option<int?>("--timeout") { Description = "Of webhook: seconds to wait, 1 to 10." };
        var prefix = new Option<string?>("--id-prefix") { Description = "Only ids that start with this." };
        var policy = new Option<string?>("--policy") { Description = "The runtime policy of the nodes that it admits." };
        var interval = new Option<int?>("--interval") { Description = "Seconds from one attestation to the next." };
        var (recovery, group) = (NodeOptions.Recovery(), NodeOptions.Group());
        var command = new Command("put", "Put a rule.") { name, kind, issuer, manufacturer, model, version, url, secretFile, timeout, prefix, policy, interval, recovery, group };
        command.SetAction(async (parsed, cancel) =>
        {
            var rule = new EnrolmentRuleMessage(parsed.GetValue(kind) switch
            {
                "ek-list" => EnrolmentRuleKind.EndorsementList,
                "certificate" => EnrolmentRuleKind.Certificate,
                _ => EnrolmentRuleKind.Webhook,
            })
            {
                Issuer = parsed.GetValue(issuer),
                Manufacturer = parsed.GetValue(manufacturer),
                Model = parsed.GetValue(model),
                Version = parsed.GetValue(version),
                Url = parsed.GetValue(url) is { } text ? Login.ParseUrl(text, "--url") : null,
                Secret = parsed.GetValue(secretFile) is { } file ? Login.ReadText(file, "--secret-file").Trim() : null,
                TimeoutSeconds = parsed.GetValue(timeout),
                IdPrefix = parsed.GetValue(prefix),
                Node = new EnrolNode { RuntimePolicy = parsed.GetValue(policy), IntervalSeconds = parsed.GetValue(interval), Recovery = parsed.GetValue(recovery), Group = parsed.GetValue(group) },
            };
            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = JsonContent.Create(rule, ApiJson.Default.EnrolmentRuleMessage);
            var put = await api.SendAsync(HttpMethod.Put, $"/v1/enrolment-rules/{Uri.EscapeDataString(parsed.GetValue(name)!)}", content, ApiJson.Default.NamedEnrolmentRule, cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, put, ApiJson.Default.NamedEnrolmentRule);
            else
                Output.WriteFields(surroundings, ("rule", put.Name), ("kind", parsed.GetValue(kind)), ("secret", put.Rule.Secret is { } secret ? $"{secret} (told once)" : null));
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var command = new Command("list", "All rules, in the order in which they are asked.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync("/v1/enrolment-rules", ApiJson.Default.EnrolmentRuleList, cancel);
            Output.WriteList(surroundings, formats, parsed, list, ApiJson.Default.EnrolmentRuleList, ["rule", "kind", "who", "policy", "updated"], list.Rules.Select(static r => (string?[])
            [
                r.Name,
                r.Rule.Kind switch { EnrolmentRuleKind.EndorsementList => "ek-list", EnrolmentRuleKind.Certificate => "certificate", _ => "webhook" },
                string.Join(' ', ((string?[])[r.Rule.IdPrefix is { } p ? $"id {p}…" : null, r.Rule.Issuer, r.Rule.Manufacturer, r.Rule.Model, r.Rule.Version, r.Rule.Url?.ToString()]).Where(static w => w is not null)),
                r.Rule.Node?.RuntimePolicy, Output.Time(r.UpdatedAt),
            ]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Delete(Surroundings surroundings)
    {
        var name = new Argument<string>("NAME") { Description = "The rule's name." };
        var command = new Command("delete", "Delete a rule. Nodes that it admitted stay.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, $"/v1/enrolment-rules/{Uri.EscapeDataString(parsed.GetValue(name)!)}", null, cancel);
            return Exits.Ok;
        });
        return command;
    }
}

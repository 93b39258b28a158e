using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Nodes;
using Keylime.Functions.Notifications;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Registrar;

/// <summary>Asks the rules, in the order of their names, whether a TPM that proved itself may be a node.</summary>
internal sealed class EnrolmentRules(
    IRecordStore<EnrolmentRule> rules, IRecordStore<KnownEndorsementKey> list, IKeyRing keys, Outbound outbound, TimeProvider clock)
{
    public const string SecretPurpose = "enrolment webhook";
    private const int DefaultTimeout = 3;
    private const int MaxAnswer = 16 * 1024;
    private const int MaxReason = 900;

    /// <returns>The rule that admits; or <see langword="null"/>, and why none does.</returns>
    public async Task<(EnrolmentRule? Rule, string Why)> AskAsync(Registration registration, CancellationToken cancel)
    {
        var whyNot = new StringBuilder();
        foreach (var rule in await rules.AllAsync(cancel))
        {
            if (await ObjectionAsync(rule, registration, cancel) is not { } objection)
                return (rule, "");
            if (whyNot.Length < MaxReason)
                whyNot.Append(CultureInfo.InvariantCulture, $" {rule.Name}: {objection}");
        }

        return (null, whyNot.Length == 0
            ? "Waits for an operator: there are no enrolment rules."
            : $"Waits for an operator: no enrolment rule admits it.{whyNot}");
    }

    private async Task<string?> ObjectionAsync(EnrolmentRule rule, Registration registration, CancellationToken cancel)
    {
        var wanted = rule.Rule;
        if (wanted.IdPrefix is { } prefix && !registration.Id.ToString().StartsWith(prefix, StringComparison.Ordinal))
            return $"its id does not start with '{prefix}'.";
        return wanted.Kind switch
        {
            EnrolmentRuleKind.EndorsementList => await OnListAsync(registration, cancel),
            EnrolmentRuleKind.Certificate => Compare(wanted, registration),
            EnrolmentRuleKind.Webhook => await AskWebhookAsync(rule, registration, cancel),
            _ => "its kind is not known here.",
        };
    }

    private async Task<string?> OnListAsync(Registration registration, CancellationToken cancel)
    {
        var hash = Convert.ToHexStringLower(registration.EndorsementKeyHash.Span);
        if (await list.FindAsync(hash, cancel) is not { Value: var entry })
            return $"its endorsement key {hash} is not on the list.";
        return entry.Agent is { } agent && agent != registration.Id.ToString() ? $"its endorsement key is on the list for '{agent}'." : null;
    }

    private static string? Compare(EnrolmentRuleMessage wanted, Registration registration)
    {
        if (registration.Issuer is not { } issuer)
            return "it has no endorsement certificate of a trusted root.";
        if (wanted.Issuer is { } part && !issuer.Contains(part, StringComparison.Ordinal))
            return $"its certificate's issuer is '{issuer}', without '{part}'.";
        if (wanted.Manufacturer is { } manufacturer && !string.Equals(registration.Manufacturer, manufacturer, StringComparison.OrdinalIgnoreCase))
            return $"its TPM's manufacturer is '{registration.Manufacturer}', not '{manufacturer}'.";
        if (wanted.Model is { } model && registration.Model?.StartsWith(model, StringComparison.Ordinal) != true)
            return $"its TPM's model is '{registration.Model}', not '{model}'.";
        return wanted.Version is { } version && !string.Equals(registration.Version, version, StringComparison.OrdinalIgnoreCase)
            ? $"its TPM's version is '{registration.Version}', not '{version}'."
            : null;
    }

    private async Task<string?> AskWebhookAsync(EnrolmentRule rule, Registration registration, CancellationToken cancel)
    {
        if (keys.Open(SecretPurpose, rule.SealedSecret.Span) is not { } secret || rule.Rule.Url is not { } url)
            return "its secret cannot be opened: put the rule again.";

        var question = new EnrolmentQuestion(
            registration.Id, Convert.ToHexStringLower(registration.EndorsementKeyHash.Span), IdentityNames.Of(registration.Identity), KeyNames.Of(registration.AttestationKey))
        {
            EndorsementCertificate = registration.EndorsementCertificate.IsEmpty ? null : registration.EndorsementCertificate.ToArray(),
            Issuer = registration.Issuer,
            Manufacturer = registration.Manufacturer,
            Model = registration.Model,
            Version = registration.Version,
        };
        var body = JsonSerializer.SerializeToUtf8Bytes(question, ApiJson.Default.EnrolmentQuestion);
        var id = $"enrol_{Guid.NewGuid():N}";
        using var request = new HttpRequestMessage(HttpMethod.Post, url) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(MediaTypes.Json);
        StandardWebhooks.Sign(request, id, clock.GetUtcNow(), body, secret);
        try
        {
            var answer = await outbound.SendAsync(request, plain: false, MaxAnswer, TimeSpan.FromSeconds(rule.Rule.TimeoutSeconds ?? DefaultTimeout), cancel);
            if (answer.Status != StatusCodes.Status200OK)
                return $"its webhook answered {answer.Status}.";
            return JsonSerializer.Deserialize(answer.Body, ApiJson.Default.EnrolmentAnswer) switch
            {
                { Admit: true } => null,
                { Reason: { Length: > 0 and <= 200 } reason } => $"its webhook says no: {reason}",
                _ => "its webhook says no.",
            };
        }
        catch (OutboundException e)
        {
            return $"its webhook gave no answer: {e.Message}";
        }
        catch (JsonException)
        {
            return "its webhook's answer is not the JSON that is expected.";
        }
    }
}

using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>Which events go to which webhook.</summary>
internal static class EventFilter
{
    private const string Family = ".*";

    public static bool Lets(Webhook webhook, EventRecord happened) =>
        webhook.DisabledAt is null
        && happened.Subject != EventRecord.WebhookPrefix + webhook.Name // that it cannot be reached is nothing to tell it
        && (webhook.Message.Events is not { Count: > 0 } wanted || wanted.Any(one => Matches(one, happened.Type)))
        && (webhook.Message.Severity is not { } least || EventTypes.SeverityOf(happened.Type) >= least)
        && (webhook.Message.Nodes is not { } prefix || !happened.Subject.Contains(':', StringComparison.Ordinal) && happened.Subject.StartsWith(prefix, StringComparison.Ordinal));

    /// <summary>Whether there is such a type or family of types at all.</summary>
    public static bool IsKnown(string wanted) => EventTypes.All.Any(type => Matches(wanted, type));

    private static bool Matches(string wanted, string type) =>
        wanted.EndsWith(Family, StringComparison.Ordinal) ? type.StartsWith(wanted.AsSpan(0, wanted.Length - 1), StringComparison.Ordinal) : wanted == type;
}

using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Notifications;

/// <summary>Of a webhook that wants one group of nodes: whether an event is of one of these, as its row says now. The store is asked for such webhooks only.</summary>
internal sealed class GroupFilter(INodeStore nodes)
{
    public async ValueTask<bool> LetsAsync(Webhook webhook, EventRecord happened, CancellationToken cancel)
    {
        if (webhook.Message.Group is not { } group)
            return true;
        if (!AgentId.TryParse(happened.Subject, null, out var id)) // of a policy, a payload, the service itself
            return false;
        try
        {
            return (await nodes.FindAsync(id, cancel))?.Value.Group == group;
        }
        catch (UnreadableRowException)
        {
            return true; // told once too often, and not once too little
        }
    }
}

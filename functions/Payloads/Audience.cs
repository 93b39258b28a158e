using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Payloads;

/// <summary>Whom a payload is meant for.</summary>
internal static class Audience
{
    /// <summary>Whether a node is all of what is given. Nothing given means nobody.</summary>
    public static bool Has(PayloadAudience audience, Node node)
    {
        if (audience is { Nodes: null, Group: null, Policy: null })
            return false;
        return (audience.Nodes is not { } nodes || nodes.Contains(node.Id))
            && (audience.Group is not { } group || node.Group == group)
            && (audience.Policy is not { } policy || node.RuntimePolicy == policy || node.BootPolicy == policy);
    }
}

using Keylime.Attestation;

namespace Keylime.Functions.Tests;

/// <summary>Policies of boots that are good by definition.</summary>
internal static class BootPolicies
{
    public static byte[] Of(BootLog log)
    {
        var draft = BootPolicyMaker.MakeEventRules([log], new BootPolicyMakerOptions());
        Assert.True(draft is BootPolicyDraft.Made, draft is BootPolicyDraft.Refused refused ? string.Join(' ', refused.Reasons) : "");
        return ((BootPolicyDraft.Made)draft).Utf8Json.ToArray();
    }
}

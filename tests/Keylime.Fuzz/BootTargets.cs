using System.Text;
using Keylime.Attestation;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Fuzz;

/// <summary>Boot policies as texts, and logs of any kind that policies are made of.</summary>
internal static class BootTargets
{
    private static readonly Lazy<BootLog> Good = new(static () => Parse(BootLogBuilder.Debian(TpmAlgorithm.Sha256)));

    public static void Policies(byte[] bytes)
    {
        if (!BootPolicy.TryParse(bytes, out var policy, out _))
            return;
        _ = policy.PreviewUnproven(Good.Value, TpmAlgorithm.Sha256);
        if (!BootPolicyDiff.Describe(policy, policy).IsEmpty)
            throw new InvalidOperationException("A policy differs from itself.");
    }

    /// <summary>What a policy is made of passes it.</summary>
    public static void Makers(byte[] bytes)
    {
        if (!BootLog.TryParse(bytes, out var log, out _))
            return;
        foreach (var draft in (BootPolicyDraft[])[BootPolicyMaker.MakeReferenceState([log]), BootPolicyMaker.MakeEventRules([Good.Value, log], new BootPolicyMakerOptions()), BootPolicyMaker.MakeEventRules([log], new BootPolicyMakerOptions())])
        {
            if (draft is BootPolicyDraft.Made made && !made.Policy.PreviewUnproven(log, TpmAlgorithm.Sha256).Pass)
                throw new InvalidOperationException("A policy refuses what it was made of.");
        }
    }

    public static IEnumerable<byte[]> SeedsOf(string target) => target == "bootmakers"
        ? [BootLogBuilder.Debian(TpmAlgorithm.Sha256).Build(), BootLogBuilder.Debian(TpmAlgorithm.Sha1, TpmAlgorithm.Sha256).Build()]
        : [Made(BootPolicyMaker.MakeEventRules([Good.Value], new BootPolicyMakerOptions())), Made(BootPolicyMaker.MakeReferenceState([Good.Value])), Encoding.ASCII.GetBytes("""{"version":1,"pcrs":[7],"events":{"secure-boot":"on"}}""")];

    private static BootLog Parse(BootLogBuilder log) => BootLog.TryParse(log.Build(), out var parsed, out var error) ? parsed : throw new InvalidDataException(error);

    private static byte[] Made(BootPolicyDraft draft) => draft is BootPolicyDraft.Made made ? made.Utf8Json.ToArray() : throw new InvalidDataException($"{draft}");
}

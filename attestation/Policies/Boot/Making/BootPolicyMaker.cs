using System.Collections.Immutable;
using Keylime.Tpm;
using static Keylime.Attestation.BootPolicyDraft;

namespace Keylime.Attestation;

/// <summary>Makes boot policies out of boots that are known to be good. The logs are taken at their word, so they must come from machines that are trusted as they are.</summary>
/// <remarks>What is made is parsed again and held against each of the boots, so a policy that comes out accepts all of them.</remarks>
public static class BootPolicyMaker
{
    /// <summary>The most boots.</summary>
    public const int MaxBoots = 1000;

    /// <summary>Keylime's measured-boot reference state, as upstream's <c>keylime-policy create measured-boot</c> makes it, but of any number of boots.</summary>
    public static BootPolicyDraft MakeReferenceState(IReadOnlyList<BootLog> boots)
    {
        const TpmAlgorithm bank = TpmAlgorithm.Sha256;
        return Check(boots, bank) is { } refused ? refused : Try(boots, bank, ReferenceState.Relevant, facts => new ReferenceStateMaker().Make(facts));
    }

    /// <summary>Our event rules. What differs between the boots is an alternative, or of a volatile class, or a reason to refuse.</summary>
    public static BootPolicyDraft MakeEventRules(IReadOnlyList<BootLog> boots, BootPolicyMakerOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Volatile.FirstOrDefault(name => VolatileClass.Find(name) is null) is { } unknown)
            return new Refused([$"'{unknown}' is no volatile class; {string.Join(", ", VolatileClass.All.Select(static c => c.Name))} are."]);
        return Check(boots, options.Bank) is { } refused ? refused : Try(boots, options.Bank, options.Pcrs, facts => new EventRulesMaker(options).Make(facts));
    }

    private static Refused? Check(IReadOnlyList<BootLog> boots, TpmAlgorithm bank)
    {
        ArgumentNullException.ThrowIfNull(boots);
        if (boots.Count is 0 or > MaxBoots)
            return new Refused([$"{boots.Count} boots; 1 to {MaxBoots} are expected."]);
        var lacking = boots.Index().Where(b => !b.Item.Banks.Contains(bank)).Select(b => $"Boot {b.Index + 1}: the log has no digests of {bank.ProtocolName()}.").ToImmutableArray();
        return lacking.IsEmpty ? null : new Refused(lacking);
    }

    private static BootPolicyDraft Try(IReadOnlyList<BootLog> boots, TpmAlgorithm bank, PcrSet pcrs, Func<IReadOnlyList<IReadOnlyList<BootFact>>, BootPolicyDraft> make)
    {
        var lacking = boots.Index().Where(b => b.Item.Events.Any(e => !e.IsRemark && pcrs.Contains(e.Pcr) && e.Digest(bank) is null))
            .Select(b => $"Boot {b.Index + 1}: an event has no digest of {bank.ProtocolName()}.").ToImmutableArray();
        if (!lacking.IsEmpty)
            return new Refused(lacking);

        var draft = make([.. boots.Select(log => BootFact.Assume(log, bank, pcrs))]);
        if (draft is not Made made)
            return draft;
        var objections = boots.Index()
            .SelectMany(b => made.Policy.PreviewUnproven(b.Item, bank).Findings.Select(f => $"Boot {b.Index + 1}: {f.Detail}"))
            .ToImmutableArray();
        return objections.IsEmpty ? made : new Refused(objections);
    }
}

using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Our boot policy: rules that name events by what their digests prove. An event that no rule names is a finding.</summary>
internal sealed record EventRules : IBootRules
{
    public required PcrSet Pcrs { get; init; }

    /// <summary>What the variable SecureBoot has to be; <see langword="null"/> where no rule names it.</summary>
    public SecureBootRule? SecureBoot { get; init; }

    /// <summary>Alternatives.</summary>
    public ImmutableArray<FirmwareRule> Firmware { get; init; } = [];

    public ImmutableArray<DatabaseRule> Databases { get; init; } = [];

    public ImmutableArray<VariableRule> Variables { get; init; } = [];

    /// <summary>Alternatives: an update may boot beside its predecessor.</summary>
    public ImmutableArray<BootChain> Boot { get; init; } = [];

    public TextRule? LoaderCommands { get; init; }

    public ImmutableArray<MeasuredRule> Measured { get; init; } = [];

    public ImmutableArray<VolatileRule> Volatile { get; init; } = [];

    public ImmutableArray<string> Warnings { get; init; } = [];

    public BootPolicyFormat Format => BootPolicyFormat.EventRules;

    public IEnumerable<BootPolicyLine> Lines => EventRulesLines.Of(this);

    public void Judge(IReadOnlyList<BootFact> events, TpmAlgorithm bank, BootFindings findings) => new EventRulesJudge(this, bank, findings).Judge(events);
}

internal enum SecureBootRule
{
    On,
    Off,

    /// <summary>On or off, but the firmware has to say which.</summary>
    Any,
}

/// <summary>A version of the firmware: PCR 0 but for its separator.</summary>
/// <param name="Versions">Texts of EV_S_CRTM_VERSION, one of which has to come; <see langword="null"/> where the version is one of the digests.</param>
/// <param name="Digests">All other events, in order. Of several banks, each for itself.</param>
internal sealed record FirmwareRule(string Name, ImmutableHashSet<string>? Versions, ImmutableArray<(TpmAlgorithm Bank, string Hex, string Remark)> Digests);

/// <summary>A variable by its GUID and name, and the SHA-256 of values that it may have.</summary>
internal sealed record VariableRule(int Pcr, string Name, Guid Vendor, BootDigestSet Values, bool Required);

/// <summary>Digests that may be extended into a PCR, whatever the log says of them.</summary>
internal sealed record MeasuredRule(int Pcr, string Name, BootDigestSet Digests, bool Required);

/// <summary>A class of events that differ from boot to boot, allowed by name.</summary>
/// <param name="Most">How many there may be.</param>
internal sealed record VolatileRule(VolatileClass Class, string Reason, int Most);

/// <summary>Texts that may be measured: as they are, by patterns that match a whole one, or by digests.</summary>
internal sealed record TextRule(ImmutableHashSet<string> Texts, PatternList? Patterns, ImmutableArray<string> PatternTexts, BootDigestSet Digests)
{
    public static TextRule None { get; } = new([], null, [], new BootDigestSet());

    public bool Allows(string text) => Texts.Contains(text) || Patterns?.Matches(System.Text.Encoding.UTF8.GetBytes(text)) == true;

    /// <summary>What was expected, in the words of a finding.</summary>
    public string Describe() => (Texts, PatternTexts) switch
    {
        ({ Count: 1 }, []) => BootWords.Printable(Texts.First()),
        ({ IsEmpty: true }, [var pattern]) => $"a text that matches {BootWords.Printable(pattern)}",
        ({ IsEmpty: true }, []) => Digests.IsEmpty ? "nothing" : "a text with one of the policy's digests",
        _ => $"one of {Texts.Count} texts or a match of one of {PatternTexts.Length} patterns",
    };
}

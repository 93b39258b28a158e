using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Which boots are good: Keylime's measured-boot reference state, or our event rules, ready to judge with.</summary>
/// <remarks>Immutable once made, so any number of threads may judge with one.</remarks>
public sealed class BootPolicy
{
    /// <summary>How many findings are kept; all are counted.</summary>
    public const int MaxFindings = 32;

    /// <summary>The largest text of a policy, in bytes. One with a whole dbx has 100 KB.</summary>
    public const int MaxBytes = 8 << 20;

    private readonly IBootRules _rules;

    private BootPolicy(IBootRules rules) => _rules = rules;

    public BootPolicyFormat Format => _rules.Format;

    /// <summary>The PCRs that a quote has to cover, and that the log has to be replayed into.</summary>
    public PcrSet Pcrs => _rules.Pcrs;

    /// <summary>What the policy says and would be wiser not to, and rules that can never match.</summary>
    public ImmutableArray<string> Warnings => _rules.Warnings;

    internal IEnumerable<BootPolicyLine> Lines => _rules.Lines;

    /// <summary>True for a JSON object that has a member of either form, and not one of a runtime policy: it means to be one, whether or not it is well-formed.</summary>
    public static bool IsOne(ReadOnlySpan<byte> utf8Json)
    {
        var found = false;
        try
        {
            var json = new Utf8JsonReader(utf8Json);
            if (!json.Read() || json.TokenType != JsonTokenType.StartObject)
                return false;
            while (json.Read() && json.TokenType == JsonTokenType.PropertyName)
            {
                if (json.ValueTextEquals("digests"u8))
                    return false;
                found |= json.ValueTextEquals("events"u8) || json.ValueTextEquals("scrtm_and_bios"u8) || json.ValueTextEquals("kernels"u8);
                json.Skip();
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // what cannot be read further is judged by what came before it
        }

        return found;
    }

    /// <summary>Reads a policy of either form: one that has the member <c>events</c> is ours, one that has <c>scrtm_and_bios</c> is upstream's.</summary>
    /// <remarks>
    /// A policy that would accept any boot is refused: upstream takes <c>{}</c> for that, and here emptiness never means trust.
    /// </remarks>
    /// <param name="error">What, where (as a JSON path), and what was expected.</param>
    public static bool TryParse(
        ReadOnlyMemory<byte> utf8Json, [NotNullWhen(true)] out BootPolicy? policy, [NotNullWhen(false)] out string? error)
    {
        try
        {
            (policy, error) = (new BootPolicy(Read(utf8Json)), null);
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is what the JSON reader throws for text that is no valid UTF-8
            (policy, error) = (null, e.Message);
            return false;
        }
    }

    /// <summary>Judges a log that a quote proves.</summary>
    /// <remarks>All findings add up; they are in the order of the log, so the first is about the first divergent event.</remarks>
    public BootAppraisal Appraise(ReplayedBootLog log)
    {
        ArgumentNullException.ThrowIfNull(log);
        var findings = new BootFindings();
        foreach (var pcr in Pcrs.Except(log.Proven))
            findings.AddMissing(BootPcrNotQuoted, pcr, "the policy judges it, and no quote proves its events", "a quote that covers it");
        if (findings.Any)
            return findings.Close(); // of a log that is proven in part, an event that is not there says nothing

        _rules.Judge([.. log.Events.Where(e => Pcrs.Contains(e.Pcr)).Select(static e => new BootFact(e))], log.Bank, findings);
        return findings.Close();
    }

    /// <summary>Judges a log that nothing proves, as if it were proven: for trying a policy out, never for trusting a machine.</summary>
    /// <param name="bank">The bank whose digests are looked at.</param>
    /// <exception cref="ArgumentException">The log has no digests of this bank.</exception>
    public BootAppraisal PreviewUnproven(BootLog log, TpmAlgorithm bank)
    {
        var findings = new BootFindings();
        _rules.Judge(BootFact.Assume(log, bank, Pcrs), bank, findings);
        return findings.Close();
    }

    private static IBootRules Read(ReadOnlyMemory<byte> utf8Json)
    {
        if (utf8Json.Length > MaxBytes)
            throw new JsonException($"$: {utf8Json.Length} bytes, {MaxBytes} at most.");

        using var document = JsonDocument.Parse(utf8Json, new JsonDocumentOptions { MaxDepth = 12 });
        var root = new BootJson(document.RootElement, "$");
        root.ExpectObject();
        if (root.Has("events"))
            return EventRulesReader.Read(root);
        if (root.Has("scrtm_and_bios") || root.Has("kernels"))
            return ReferenceStateReader.Read(root);
        throw new JsonException(
            "$: neither a reference state of Keylime (member scrtm_and_bios) nor event rules (member events). A policy that lists nothing would accept any boot, and is refused.");
    }
}

using System.Collections.Immutable;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>What a node has to prove, and what it proved last.</summary>
public sealed record AppraisalRequest
{
    /// <summary>The pinned attestation key.</summary>
    public required AttestationKey Key { get; init; }

    public required QuoteRequest Quote { get; init; }

    /// <summary>How well the TPM is known, from registration.</summary>
    public required IdentityLevel Identity { get; init; }

    /// <summary>The clock of the last quote that verified.</summary>
    public ClockInfo? LastClock { get; init; }

    public PcrPolicy? Pcrs { get; init; }

    public BootPolicy? Boot { get; init; }

    /// <summary>The boot whose log passed, where the log was not asked for again.</summary>
    public ProvenBoot? BootStart { get; init; }

    public RuntimePolicy? Runtime { get; init; }

    /// <summary>Where the lines start that were asked for; <see langword="null"/> for the list's start.</summary>
    public ImaCheckpoint? ImaStart { get; init; }

    /// <summary>When the evidence came: layers of a policy that run out are judged by it.</summary>
    public required DateTimeOffset At { get; init; }
}

/// <summary>What came back.</summary>
/// <param name="ImaLines">The measurement list from where it was asked for; <see langword="null"/> if none came.</param>
public sealed record Evidence(QuoteEvidence Quote, ReadOnlyMemory<byte>? ImaLines)
{
    /// <summary>The firmware's event log (<c>binary_bios_measurements</c>); <see langword="null"/> if none came.</summary>
    public ReadOnlyMemory<byte>? BootLog { get; init; }

    /// <summary>The list's form.</summary>
    public ImaListFormat ImaFormat { get; init; }
}

/// <summary>Evidence in, verdict out.</summary>
public static class Appraisal
{
    private static readonly string[] PolicyCodes =
    [
        ImaViolation, ImaViolationBudget, ImaNotInPolicy, ImaDigestNotAllowed, ImaStale, ImaSignatureInvalid, ImaSignatureKeyUnknown,
        ImaKeyNotAllowed, ImaKeyMalformed, ImaBufferNotAllowed, ImaBootAggregate, PcrValueNotAllowed, PcrNotQuoted, PolicyMissing,
        ImaDmNotInPolicy, ImaDmTableNotAllowed, ImaDmTableChanged, ImaDmChangeNotAllowed, ImaDmDeviceInvalid, ImaDmRuleUnused,
        BootEventNotAllowed, BootEventMissing, BootSecureBootOff, BootDatabaseNotAllowed, BootImageNotAllowed, BootCommandLineNotAllowed,
        BootFirmwareNotAllowed, BootReferenceState,
    ];

    /// <summary>Judges evidence, whatever it is. What goes wrong in judging is a finding too: no exception ever looks like a pass.</summary>
    public static Verdict Appraise(AppraisalRequest request, Evidence evidence)
    {
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(evidence);
        try
        {
            return Judge(request, evidence);
        }
#pragma warning disable CA1031 // The outermost loop of judging: an attacker who finds an exception must not find a way out of being judged.
        catch (Exception e)
#pragma warning restore CA1031
        {
            var finding = new Finding(AppraisalError, $"The evidence could not be judged: {e.GetType().Name}.");
            return new Verdict([finding], 1, new Coverage(request.Identity, false, false, false), brokenEvidenceChain: true);
        }
    }

    private static Verdict Judge(AppraisalRequest request, Evidence evidence)
    {
        // Cryptography stops at the first failure: what follows would be meaningless.
        var result = Quote.Verify(request.Key, request.Quote, evidence.Quote);
        if (result is QuoteResult.Rejected { Finding: var rejection })
            return new Verdict([rejection], 1, new Coverage(request.Identity, false, false, false), brokenEvidenceChain: true);

        var quote = ((QuoteResult.Verified)result).Quote;
        var (clock, clockFinding) = ClockRule.Compare(request.LastClock, quote.Clock);
        if (clockFinding is not null)
        {
            return new Verdict([clockFinding], 1, new Coverage(request.Identity, false, false, false), brokenEvidenceChain: true)
            {
                Quote = quote,
                Clock = clock,
            };
        }

        // Rules of policy add up.
        var findings = ImmutableArray.CreateBuilder<Finding>();
        findings.AddRange(request.Pcrs?.Appraise(quote.Pcrs) ?? []);
        var count = findings.Count;
        BootJudgement.Result? boot = null;
        if (request.Boot is { } bootPolicy)
        {
            boot = BootJudgement.Judge(bootPolicy, quote, evidence.BootLog, request.BootStart);
            findings.AddRange(boot.Findings);
            count += boot.Count;
        }

        ImaResult? ima = null;
        if (request.Runtime is { } policy)
        {
            if (evidence.ImaLines is { } lines)
            {
                ima = ImaLog.Appraise(quote, lines, evidence.ImaFormat, request.ImaStart, policy, request.At);
                findings.AddRange(ima.Findings);
                count += ima.FindingCount;
            }
            else
            {
                findings.Add(new Finding(ImaLogMissing, "The node has a runtime policy, and no measurement list came."));
                count++;
            }
        }

        if (request.Pcrs is null && request.Boot is null && request.Runtime is null)
        {
            findings.Add(new Finding(PolicyMissing, "No policy appraises this node: its identity is proven, and nothing else."));
            count++;
        }

        var coverage = new Coverage(request.Identity, request.Pcrs is not null, boot is { Judged: true }, ima is not null);
        var broken = findings.Any(static f => !PolicyCodes.Contains(f.Code));
        return new Verdict(findings.DrainToImmutable(), count, coverage, broken)
        {
            Quote = quote,
            Clock = clock,
            Boot = boot?.Boot,
            BootLogProven = boot is { Proven: true },
            Ima = ima,
        };
    }
}

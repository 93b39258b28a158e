using System.Reflection;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Whole verdicts.</summary>
public sealed class AppraisalTests : IDisposable
{
    private static readonly PcrSelection Ten = new(TpmAlgorithm.Sha256, PcrSet.Of(10));

    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);
    private readonly AttestationKey _key;

    public AppraisalTests() => _key = Evidence.Key(_tpm);

    public void Dispose()
    {
        _key.Dispose();
        _tpm.Dispose();
    }

    [Fact]
    public void A_good_machine_passes_and_the_verdict_says_what_was_looked_at()
    {
        var list = new List().Add("/bin/0");
        _tpm.Set(TpmAlgorithm.Sha256, 10, list.Pcr(TpmAlgorithm.Sha256, 1));
        var verdict = Appraisal.Appraise(Request(Policies.Allowing("/bin/0")), new Attestation.Evidence(Evidence.Quote(_tpm, Ten), list.Text));
        Assert.True(verdict.Pass);
        Assert.Equal(new Coverage(IdentityLevel.EndorsementCertificate, false, false, true), verdict.Coverage);
        Assert.Equal(1, verdict.Ima!.Proven!.Entries);
        Assert.Equal(ClockChange.First, verdict.Clock);
    }

    [Fact]
    public void No_policy_is_no_pass()
    {
        var verdict = Appraisal.Appraise(Request(null), new Attestation.Evidence(Evidence.Quote(_tpm, Ten), null));
        Assert.False(verdict.Pass);
        Assert.Equal(FindingCodes.PolicyMissing, verdict.Findings.Single().Code);
        Assert.Equal(new Coverage(IdentityLevel.EndorsementCertificate, false, false, false), verdict.Coverage);
    }

    [Fact]
    public void A_list_that_is_wanted_and_does_not_come_is_no_pass()
    {
        var verdict = Appraisal.Appraise(Request(Policies.Allowing("/bin/0")), new Attestation.Evidence(Evidence.Quote(_tpm, Ten), null));
        Assert.Equal(FindingCodes.ImaLogMissing, verdict.Findings.Single().Code);
        Assert.True(verdict.BrokenEvidenceChain);
    }

    [Fact]
    public void A_quote_that_does_not_verify_ends_it()
    {
        var list = new List().Add("/evil");
        var verdict = Appraisal.Appraise(Request(Policies.Allowing("/bin/0")), new Attestation.Evidence(Evidence.Quote(_tpm, Ten, new byte[32]), list.Text));
        Assert.Equal(FindingCodes.QuoteNonceMismatch, verdict.Findings.Single().Code);
        Assert.Equal(new Coverage(IdentityLevel.EndorsementCertificate, false, false, false), verdict.Coverage);
        Assert.Null(verdict.Quote);
    }

    [Fact]
    public void Findings_of_policy_add_up()
    {
        var list = new List().Add("/evil");
        _tpm.Set(TpmAlgorithm.Sha256, 10, list.Pcr(TpmAlgorithm.Sha256, 1));
        Assert.True(PcrPolicy.TryCreate(new Dictionary<string, IReadOnlyList<string>> { ["10"] = [new string('0', 64)] }, out var pcrs, out _));
        var verdict = Appraisal.Appraise(Request(Policies.Allowing("/bin/0")) with { Pcrs = pcrs }, new Attestation.Evidence(Evidence.Quote(_tpm, Ten), list.Text));
        Assert.Equal([FindingCodes.PcrValueNotAllowed, FindingCodes.ImaNotInPolicy], verdict.Findings.Select(f => f.Code));
        Assert.False(verdict.BrokenEvidenceChain);
    }

    [Fact]
    public void Suspend_resume_and_reboot_pass_and_an_old_state_does_not()
    {
        var list = new List().Add("/bin/0");
        ClockInfo? last = null;
        foreach (var (happen, change) in ((Action, ClockChange)[])
            [(() => { }, ClockChange.First), (() => { }, ClockChange.Continued), (_tpm.Suspend, ClockChange.Resumed), (_tpm.Reset, ClockChange.Rebooted), (_tpm.Suspend, ClockChange.Resumed)])
        {
            happen();
            _tpm.Set(TpmAlgorithm.Sha256, 10, list.Pcr(TpmAlgorithm.Sha256, 1));
            var verdict = Appraisal.Appraise(
                Request(Policies.Allowing("/bin/0")) with { LastClock = last }, new Attestation.Evidence(Evidence.Quote(_tpm, Ten), list.Text));
            Assert.True(verdict.Pass, verdict.Findings.FirstOrDefault()?.Detail);
            Assert.Equal(change, verdict.Clock);
            last = verdict.Quote!.Clock;
        }

        _tpm.Clock = _tpm.Clock with { ResetCount = 1 };
        var old = Appraisal.Appraise(Request(Policies.Allowing("/bin/0")) with { LastClock = last }, new Attestation.Evidence(Evidence.Quote(_tpm, Ten), list.Text));
        Assert.Equal(FindingCodes.QuoteResetWentBack, old.Findings.Single().Code);
    }

    [Fact]
    public void An_exception_in_judging_is_a_failed_verdict()
    {
        _key.Dispose(); // whatever it is that throws
        var verdict = Appraisal.Appraise(Request(Policies.Allowing("/bin/0")), new Attestation.Evidence(Evidence.Quote(_tpm, Ten), default(ReadOnlyMemory<byte>)));
        Assert.False(verdict.Pass);
        Assert.Equal(FindingCodes.AppraisalError, verdict.Findings.Single().Code);
    }

    [Fact]
    public void Codes_are_stable()
    {
        // Scripts of others compare these: one may be added, none may change.
        string[] known =
        [
            "boot.action_forged", "boot.bank_missing", "boot.command_line_not_allowed", "boot.database_not_allowed", "boot.event_missing", "boot.event_not_allowed",
            "boot.firmware_not_allowed", "boot.image_not_allowed", "boot.log_malformed", "boot.log_missing", "boot.pcr_mismatch", "boot.pcr_not_quoted",
            "boot.reference_state", "boot.secure_boot_off", "boot.separator", "boot.signature_list_malformed", "device_identity.certificate_profile",
            "device_identity.malformed", "device_identity.unproven", "device_identity.untrusted", "ek.certificate_malformed", "ek.certificate_mismatch",
            "ek.certificate_profile", "ek.unsupported", "ek.untrusted", "ima.boot_aggregate", "ima.buffer_mismatch", "ima.buffer_not_allowed",
            "ima.checkpoint_stale", "ima.digest_not_allowed", "ima.dm_change_not_allowed", "ima.dm_device_invalid", "ima.dm_malformed", "ima.dm_not_in_policy",
            "ima.dm_order", "ima.dm_rule_unused", "ima.dm_table_changed", "ima.dm_table_not_allowed", "ima.key_malformed", "ima.key_not_allowed",
            "ima.line_malformed", "ima.log_empty", "ima.log_missing", "ima.not_in_policy", "ima.pcr_index", "ima.pcr_mismatch", "ima.signature_invalid",
            "ima.signature_key_unknown", "ima.stale", "ima.template_hash_mismatch", "ima.template_unsupported", "ima.violation", "ima.violation_budget",
            "internal.appraisal_error", "key.not_restricted", "key.unsupported", "pcr.not_quoted", "pcr.value_not_allowed", "policy.missing",
            "possession.challenge_mismatch", "possession.malformed", "possession.name_mismatch", "possession.scheme_mismatch", "possession.signature_invalid",
            "possession.signature_malformed", "quote.clock_went_back", "quote.malformed", "quote.nonce_mismatch", "quote.pcr_mismatch",
            "quote.pcr_values_malformed", "quote.reset_went_back", "quote.scheme_mismatch", "quote.selection_mismatch", "quote.signature_invalid",
            "quote.signature_malformed",
        ];
        var codes = typeof(FindingCodes).GetFields(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static).Where(f => f.IsLiteral).Select(f => (string)f.GetRawConstantValue()!);
        Assert.Equal(known, codes.Order(StringComparer.Ordinal));
    }

    private AppraisalRequest Request(RuntimePolicy? runtime) => new()
    {
        Key = _key,
        Quote = new QuoteRequest(Evidence.Nonce, Ten, _key.Scheme),
        Identity = IdentityLevel.EndorsementCertificate,
        Runtime = runtime,
        At = Lists.At,
    };
}

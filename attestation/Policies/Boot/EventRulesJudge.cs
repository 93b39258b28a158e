using Keylime.Tpm;
using static Keylime.Attestation.BootWords;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Judges one log by our event rules.</summary>
/// <remarks>
/// House rule of these files: a rule lets an event pass because of its PCR and its digest, or because of data that hash to the digest. The type
/// and all other words of the log are not measured; they choose the words of a finding. The one exception are volatile classes that say so
/// (<see cref="VolatileClass.IsProven"/>), and those have a limit. Order is proven within one PCR only, so none is asked between two.
/// </remarks>
internal sealed partial class EventRulesJudge
{
    private readonly EventRules _rules;
    private readonly TpmAlgorithm _bank;
    private readonly BootFindings _findings;
    private readonly BootLandmarks _landmarks;
    private readonly HashSet<MeasuredRule> _measured = [];
    private readonly Dictionary<VolatileRule, int> _volatile = [];
    private readonly List<BootFact> _firmware = [];
    private readonly List<BootFact> _images = [];
    private readonly List<BootFact> _lines = [];
    private readonly List<BootFact> _files = [];
    private readonly List<BootFact> _sections = [];

    public EventRulesJudge(EventRules rules, TpmAlgorithm bank, BootFindings findings)
    {
        (_rules, _bank, _findings) = (rules, bank, findings);
        _landmarks = new BootLandmarks(bank, findings);
    }

    public void Judge(IReadOnlyList<BootFact> events)
    {
        foreach (var e in events)
        {
            if (_landmarks.Take(e, out var action))
                JudgeAction(e, action);
            else if (!TakeMeasured(e))
                Judge(e);
        }

        _landmarks.Close(_rules.Pcrs);
        CloseVariables();
        foreach (var rule in _rules.Measured.Where(r => r.Required && !_measured.Contains(r)))
            _findings.AddMissing(BootEventMissing, rule.Pcr, $"'{rule.Name}' was not measured", rule.Digests.Describe(_bank));
        JudgeFirmware();
        JudgeChains();
    }

    private void Judge(in BootFact e)
    {
        switch (e.Pcr)
        {
            case 0:
                _firmware.Add(e);
                break;
            case 4 when _landmarks.IsSeparated(4):
                _images.Add(e);
                break;
            case 4:
                // Whatever runs before the separator is the firmware's own; it never counts as a boot loader, even with a boot loader's digest.
                Refuse(BootImageNotAllowed, e, $"a program that the firmware started before the separator, {Story(e)}, is named by no rule; {ItsDigest(_bank, e)}", "a digest under measured");
                break;
            case 7:
                JudgeVariable(e);
                break;
            case 8 or 12:
                JudgeText(e);
                break;
            case 9:
                _files.Add(e);
                break;
            case 11:
                _sections.Add(e);
                break;
            case 14:
                JudgeMok(e);
                break;
            default:
                JudgeOther(e);
                break;
        }
    }

    private void JudgeOther(in BootFact e)
    {
        if (!TakeVariable(e) && !TakeVolatile(e))
            Unknown(e);
    }

    private void JudgeAction(in BootFact e, string? action)
    {
        switch (action)
        {
            case BootLandmarks.EnteringSetup when !TakeVolatile(e, "firmware-setup"):
                Refuse(BootEventNotAllowed, e, "somebody entered the firmware's setup", "no such event");
                break;
            case BootLandmarks.ReturningFromBootOption when !TakeVolatile(e, "boot-attempts"):
                Refuse(BootEventNotAllowed, e, "a boot option was tried before, and returned", "no such event");
                break;
            case BootLandmarks.ReturningFromBootOption:
                // What ran before must be known too: it could have done anything to what is booted next.
                foreach (var tried in _images.Where(image => !_rules.Boot.Any(chain => chain.Images.Any(step => step.Digests.Allows(_bank, image.Digest)))))
                    Refuse(BootImageNotAllowed, tried, $"a program that was tried and returned, {Story(tried)}, is not in the policy; {ItsDigest(_bank, tried)}", "a program of the policy");
                _images.Clear();
                break;
            default:
                break; // separators, and actions that every boot has
        }
    }

    // A digest that the policy names for this PCR: it proves the event, whatever the log says of it.
    private bool TakeMeasured(in BootFact e)
    {
        foreach (var rule in _rules.Measured)
        {
            if (rule.Pcr == e.Pcr && rule.Digests.Allows(_bank, e.Digest))
            {
                _measured.Add(rule);
                return true;
            }
        }

        return false;
    }

    private bool TakeVolatile(in BootFact e)
    {
        foreach (var rule in _rules.Volatile)
        {
            if (rule.Class.Pcr == e.Pcr && rule.Class.Has(e))
                return Count(e, rule);
        }

        return false;
    }

    private bool TakeVolatile(in BootFact e, string name) => _rules.Volatile.FirstOrDefault(r => r.Class.Name == name) is { } rule && Count(e, rule);

    private bool Count(in BootFact e, VolatileRule rule)
    {
        if ((_volatile[rule] = _volatile.GetValueOrDefault(rule) + 1) > rule.Most)
            Refuse(BootEventNotAllowed, e, $"of the volatile class {rule.Class.Name} there are more than {rule.Most}; this is {Story(e)}, {ItsDigest(_bank, e)}", $"at most {rule.Most}");
        return true;
    }

    private void JudgeFirmware()
    {
        if (!_rules.Pcrs.Contains(0))
            return;
        IReadOnlyList<FirmwareRule> alternatives = _rules.Firmware.IsEmpty ? [new FirmwareRule("none", null, [])] : _rules.Firmware;
        foreach (var miss in BootMiss.Nearest(alternatives, static f => $"'{f.Name}'", JudgeFirmware))
            _findings.Add(miss);
    }

    private IReadOnlyList<BootMiss> JudgeFirmware(FirmwareRule rule)
    {
        var misses = new List<BootMiss>();
        var expected = rule.Digests.Where(d => d.Bank == _bank).ToArray();
        var versioned = rule.Versions is null;
        var at = 0;
        foreach (var e in _firmware)
        {
            // The version's text hashes to the digest, so the firmware measured these words.
            if (rule.Versions is { } versions && e.Measured == MeasuredPart.Whole && e.UntrustedData is BootEventData.CrtmVersion { Version: var version })
            {
                versioned = true;
                if (!versions.Contains(version))
                    misses.Add(BootMiss.At(BootFirmwareNotAllowed, e, $"the firmware's version '{Printable(version)}' is not in the policy", string.Join(" or ", versions.Order(StringComparer.Ordinal).Select(Printable)), Printable(version)));
            }
            else if (at >= expected.Length)
            {
                misses.Add(BootMiss.At(BootFirmwareNotAllowed, e, $"more firmware than the policy has, {Story(e)}; {ItsDigest(_bank, e)}", "no such event", BootDigestSet.Text(_bank, e.Digest)));
            }
            else if (expected[at++].Hex is var hex && hex != Convert.ToHexStringLower(e.Digest.Span))
            {
                misses.Add(BootMiss.At(BootFirmwareNotAllowed, e, $"the firmware is not in the policy, {Story(e)}; {ItsDigest(_bank, e)}", $"{_bank.ProtocolName()}:{hex}", BootDigestSet.Text(_bank, e.Digest)));
            }
        }

        if (!versioned)
            misses.Add(BootMiss.Absent(BootEventMissing, 0, "the firmware's version was not measured", string.Join(" or ", rule.Versions!.Select(Printable))));
        for (; at < expected.Length; at++)
            misses.Add(BootMiss.Absent(BootEventMissing, 0, $"firmware that the policy wants was not measured, {_bank.ProtocolName()}:{expected[at].Hex}", $"{_bank.ProtocolName()}:{expected[at].Hex}"));
        if (expected.Length == 0 && rule.Digests.Length > 0)
            misses.Add(BootMiss.Absent(BootFirmwareNotAllowed, 0, $"the policy has no {_bank.ProtocolName()} digests of the firmware, and the quote is of that bank", $"digests of {_bank.ProtocolName()}"));
        return misses;
    }

    private void Unknown(in BootFact e) => Refuse(BootEventNotAllowed, e, $"no rule of the policy names it: {e.UntrustedTypeName}, {Story(e)}; {ItsDigest(_bank, e)}", "an event that a rule names");

    private void Refuse(string code, in BootFact e, string what, string expected) => _findings.Add(code, e, what, expected, BootDigestSet.Text(_bank, e.Digest));
}

using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>
/// The events whose place and digest the profile fixes: separators and EFI actions (PC Client Platform Firmware Profile 1.06, 3.3.4 and 10.4.1).
/// They are known by what was extended; types are not measured.
/// </summary>
internal sealed class BootLandmarks
{
    public const string CallingBootOption = "Calling EFI Application from Boot Option";
    public const string ReturningFromBootOption = "Returning from EFI Application from Boot Option";
    public const string EnteringSetup = "Entering ROM Based Setup";
    public const string ExitInvocation = "Exit Boot Services Invocation";
    public const string ExitFailed = "Exit Boot Services Returned with Failure";
    public const string ExitSucceeded = "Exit Boot Services Returned with Success";

    /// <summary>The PCRs that end with exactly one separator before the first boot option is tried.</summary>
    private static readonly PcrSet Separated = PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7);

    private static readonly (int Pcr, string Text)[] Actions =
    [
        (1, EnteringSetup), (4, CallingBootOption), (4, ReturningFromBootOption), (5, ExitInvocation), (5, ExitFailed), (5, ExitSucceeded),
    ];

    private readonly TpmAlgorithm _bank;
    private readonly BootFindings _findings;
    private readonly byte[][] _separators;
    private readonly byte[] _error;
    private readonly (int Pcr, string Text, byte[] Digest)[] _actions;
    private PcrSet _seen;
    private bool _called;
    private bool _exiting;
    private bool _exited;

    public BootLandmarks(TpmAlgorithm bank, BootFindings findings)
    {
        (_bank, _findings) = (bank, findings);
        _separators = [Hash([0, 0, 0, 0]), Hash([0xff, 0xff, 0xff, 0xff])];
        _error = Hash([1, 0, 0, 0]);
        _actions = [.. Actions.Select(a => (a.Pcr, a.Text, Hash(Encoding.ASCII.GetBytes(a.Text))))];
    }

    /// <summary>True behind the separator of this PCR.</summary>
    public bool IsSeparated(int pcr) => _seen.Contains(pcr);

    /// <summary>Looks at the next event, and complains if it is a landmark out of place or a forged one.</summary>
    /// <param name="action">The text of an action that is in its place.</param>
    /// <returns>True if the event was a landmark, or claimed to be one: no other rule needs to look at it.</returns>
    public bool Take(in BootFact e, out string? action)
    {
        action = null;
        if (_exited && e.Pcr == 5)
            _findings.Add(BootEventNotAllowed, e, "it follows the firmware's last word, that boot services were left", "nothing", Seen(e));
        if (Separated.Contains(e.Pcr) && TakeSeparator(e))
            return true;
        if (e.Pcr == 0 && IsSeparated(0))
            _findings.Add(BootSeparator, e, "it follows the separator, and all of the firmware is measured before it: the separator came early", "nothing behind the separator", Seen(e));
        return TakeAction(e, ref action);
    }

    /// <summary>Complains of separators that never came.</summary>
    public void Close(PcrSet judged)
    {
        foreach (var pcr in judged)
        {
            if (Separated.Contains(pcr) && !_seen.Contains(pcr))
                _findings.AddMissing(BootSeparator, pcr, "the separator is missing, so what the firmware measured and what it started cannot be told apart", "one separator");
        }
    }

    // Four zeros are hashed for other things too: boot options numbered 0, flags that are 0, a CRTM's contents. So the digest alone makes a separator only
    // where places decide, in PCRs 4 and 7; elsewhere the log has to call it one, and who calls it otherwise needs a rule that names it.
    private bool TakeSeparator(in BootFact e)
    {
        var digest = e.Digest.Span;
        var isCalledOne = e.UntrustedType == BootEventTypes.Separator;
        var isOne = digest.SequenceEqual(_separators[0]) || digest.SequenceEqual(_separators[1]);
        if (!isCalledOne && !(isOne && e.Pcr is (4 or 7)))
            return false;

        if (digest.SequenceEqual(_error))
        {
            _findings.Add(BootSeparator, e, "the separator says that the firmware met an error", "a separator of 00000000 or ffffffff", "00000001");
        }
        else if (!isOne)
        {
            _findings.Add(BootSeparator, e, "it is called a separator, and its digest is not one's", "the digest of 00000000 or ffffffff", Seen(e));
        }
        else
        {
            if (_seen.Contains(e.Pcr))
                _findings.Add(BootSeparator, e, "a second separator", "one separator", "a second one");
            _seen = _seen.Union(PcrSet.Of(e.Pcr));
        }

        return true;
    }

    private bool TakeAction(in BootFact e, ref string? action)
    {
        foreach (var (pcr, text, digest) in _actions)
        {
            if (pcr == e.Pcr && digest.AsSpan().SequenceEqual(e.Digest.Span))
            {
                if (e.UntrustedData is BootEventData.Action said && said.Text != text)
                    _findings.Add(BootActionForged, e, $"the log says '{BootWords.Printable(said.Text)}', and what was measured is '{text}'", text, BootWords.Printable(said.Text));
                Follow(e, text);
                action = text;
                return true;
            }
        }

        // An action's text is what is hashed. A digest of anything else under this type is somebody's story.
        if (e.UntrustedType is BootEventTypes.EfiAction or BootEventTypes.Action && e.Measured == MeasuredPart.None)
        {
            var text = e.UntrustedData is BootEventData.Action said ? BootWords.Printable(said.Text) : "";
            _findings.Add(BootActionForged, e, $"the action's text '{text}' is not what was measured", "the digest of the text", Seen(e));
            return true;
        }

        return false;
    }

    private void Follow(in BootFact e, string text)
    {
        var inOrder = text switch
        {
            CallingBootOption => !_called,
            ReturningFromBootOption => _called && IsSeparated(4),
            ExitInvocation => IsSeparated(5) && !_exiting,
            ExitFailed => IsSeparated(5), // EDK II also measures it for a call that it refused before any invocation was measured
            ExitSucceeded => _exiting,
            EnteringSetup => !IsSeparated(1),
            _ => true,
        };
        if (!inOrder)
            _findings.Add(BootEventNotAllowed, e, $"the action '{text}' is out of order", "the order of the profile", text);

        _called = text switch
        {
            CallingBootOption => true,
            ReturningFromBootOption => false,
            _ => _called,
        };
        _exiting = text switch
        {
            ExitInvocation => true,
            ExitFailed => false,
            _ => _exiting,
        };
        _exited |= text == ExitSucceeded;
    }

    private string Seen(in BootFact e) => BootDigestSet.Text(_bank, e.Digest);

    private byte[] Hash(byte[] data) => CryptographicOperations.HashData(_bank.HashName(), data);
}

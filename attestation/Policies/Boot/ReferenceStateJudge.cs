using Keylime.Tpm;
using static Keylime.Attestation.BootWords;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Judges one log by a reference state, event by event and then as a whole.</summary>
/// <remarks>
/// As upstream, it goes by the type that the log gives an event. A type is not measured, so it only chooses what the event then has to prove by its
/// digest, or by data that hash to it; where upstream lets any digest pass, so does this.
/// </remarks>
internal sealed partial class ReferenceStateJudge(ReferenceState state, TpmAlgorithm bank, BootFindings findings)
{
    // Upstream: EDK II measures up to four, and no references for them are to be had.
    private const int MaxConfigurationFlags = 4;

    private readonly BootLandmarks _landmarks = new(bank, findings);
    private readonly Dictionary<string, int> _times = [];
    private readonly List<BootFact> _versions = [];
    private readonly List<BootFact> _blobs = [];
    private readonly List<BootFact> _programs = [];
    private readonly List<BootFact> _kernelFiles = [];
    private readonly List<BootFact> _initrds = [];
    private readonly List<BootFact> _commandLines = [];

    public void Judge(IReadOnlyList<BootFact> events)
    {
        foreach (var e in events)
        {
            if (!_landmarks.Take(e, out _))
                Judge(e);
        }

        _landmarks.Close(ReferenceState.Relevant);
        CloseVariables();
        foreach (var miss in BootMiss.Nearest(state.Firmware, f => $"firmware {state.Firmware.IndexOf(f) + 1}", JudgeFirmware))
            findings.Add(miss);
        foreach (var miss in BootMiss.Nearest(state.Kernels, k => $"kernel {state.Kernels.IndexOf(k) + 1}", JudgeKernel))
            findings.Add(miss);
    }

    private void Judge(in BootFact e)
    {
        switch (e.Pcr, e.UntrustedType)
        {
            case (0, BootEventTypes.CrtmVersion):
                _versions.Add(e);
                break;
            case (0, BootEventTypes.FirmwareBlob or BootEventTypes.FirmwareBlob2):
                _blobs.Add(e);
                break;
            case (1, BootEventTypes.CpuMicrocode or BootEventTypes.HandoffTables or BootEventTypes.HandoffTables2):
                Once(e, e.UntrustedTypeName, 1);
                break;
            case (1, BootEventTypes.PlatformConfigFlags):
                Once(e, e.UntrustedTypeName, MaxConfigurationFlags);
                break;
            case (1, BootEventTypes.VariableBoot):
                JudgeBootVariable(e);
                break;
            case (2, BootEventTypes.BootServicesDriver):
                break; // upstream lets any driver run that the firmware lets run
            case (4, BootEventTypes.BootServicesApplication):
                _programs.Add(e);
                break;
            case (5, BootEventTypes.Gpt):
                Once(e, e.UntrustedTypeName, 1);
                break;
            case (7, BootEventTypes.VariableDriverConfig):
                JudgeConfiguration(e);
                break;
            case (7, BootEventTypes.VariableAuthority):
                JudgeAuthority(e);
                break;
            case (8, BootEventTypes.Ipl):
                JudgeText(e);
                break;
            case (9, BootEventTypes.Ipl):
                JudgeFile(e);
                break;
            case (14, BootEventTypes.Ipl):
                JudgeMok(e);
                break;
            default:
                Refuse(e, $"a reference state has no rule for {e.UntrustedTypeName} in this PCR ({Story(e)}); {ItsDigest(bank, e)}", "no such event");
                break;
        }
    }

    private void JudgeBootVariable(in BootFact e)
    {
        // The name need not be proven: whatever is called a boot variable may be there, so forging the name gains nothing in PCR 1.
        if (e.UntrustedData is not BootEventData.EfiVariable variable || variable.Vendor != EfiGuids.GlobalVariable || !IsBootName(variable.Name))
            Refuse(e, $"it is called a boot variable, and {Story(e)} is none", "BootOrder or Boot####");
    }

    private void JudgeText(in BootFact e)
    {
        if (e.UntrustedData is not BootEventData.Ipl { Kind: IplKind.GrubCommand or IplKind.KernelCommandLine } ipl)
        {
            Refuse(e, $"{Story(e)} is neither a command of GRUB nor a kernel's command line", "grub_cmd or kernel_cmdline");
            return;
        }

        // The prefix is not measured. A command line begins with the kernel's path, and no command of GRUB does.
        if (ipl.Kind == IplKind.KernelCommandLine || BootTexts.IsCommandLine(e, ipl.Text))
            _commandLines.Add(e);
    }

    private void JudgeFile(in BootFact e)
    {
        // Names of files in PCR 9 are not measured; upstream goes by them, and the policy's warnings say what that is worth.
        var name = e.UntrustedData is BootEventData.Ipl { Kind: IplKind.Path or IplKind.Other } ipl ? ipl.Text : "";
        if (name.Contains('\n', StringComparison.Ordinal))
            name = ""; // upstream's patterns match one line
        if (name.Contains("/loader/entries", StringComparison.Ordinal) || name.Contains("/grub", StringComparison.Ordinal))
            return;
        if (name.Contains("/vmlinuz", StringComparison.Ordinal))
            _kernelFiles.Add(e);
        else if (name.Contains("/initrd", StringComparison.Ordinal) || name.Contains("/initramfs", StringComparison.Ordinal))
            _initrds.Add(e);
        else
            Refuse(e, $"{Story(e)} is none of the files that a reference state knows; {ItsDigest(bank, e)}", "a file of GRUB, a loader entry, a kernel or an initrd");
    }

    private void JudgeMok(in BootFact e)
    {
        var name = e.UntrustedData is BootEventData.Ipl ipl ? ipl.Text : "";
        switch (name)
        {
            case "MokList" or "MokListX":
                var allowed = name == "MokList" ? state.Mok : state.MokX;
                if (!allowed.Allows(bank, e.Digest))
                    findings.Add(BootDatabaseNotAllowed, e, $"the {name} is not in the reference state; {ItsDigest(bank, e)}", allowed.Describe(bank), BootDigestSet.Text(bank, e.Digest));
                break;
            case "MokListTrusted":
                Once(e, name, 1);
                break;
            default:
                Refuse(e, $"{Story(e)} is none of shim's variables that a reference state knows; {ItsDigest(bank, e)}", "MokList, MokListX or MokListTrusted");
                break;
        }
    }

    private IReadOnlyList<BootMiss> JudgeFirmware(ReferenceFirmware firmware)
    {
        var misses = new List<BootMiss>();
        Sequence(misses, BootFirmwareNotAllowed, 0, _versions, [("firmware's version", firmware.Version)]);
        Sequence(misses, BootFirmwareNotAllowed, 0, _blobs, [.. firmware.Blobs.Select((b, i) => ($"firmware blob {i + 1}", b))]);
        return misses;
    }

    private IReadOnlyList<BootMiss> JudgeKernel(ReferenceKernel kernel)
    {
        var misses = new List<BootMiss>();
        var program = ("kernel", Set(kernel.Kernel));
        List<(string, BootDigestSet)> programs = [("shim", Set(kernel.Shim)), ("boot loader", Set(kernel.Loader))];
        if (state.SecureBoot)
            programs.AddRange(_programs.Count == 4 ? [program, program] : [program]); // some GRUBs have the kernel measured twice
        Sequence(misses, BootImageNotAllowed, 4, _programs, programs);
        // With Secure Boot PCR 4 has the kernel; upstream then still wants one kernel file in PCR 9, and looks no closer.
        if (state.SecureBoot)
            Single(misses, BootEventMissing, 9, _kernelFiles, "kernel's file", e => null);
        else
            Sequence(misses, BootImageNotAllowed, 9, _kernelFiles, [("kernel's file", Set(kernel.Kernel))]);
        Sequence(misses, BootImageNotAllowed, 9, _initrds, [("initrd", Set(kernel.Initrd))]);
        Single(misses, BootCommandLineNotAllowed, 8, _commandLines, "kernel's command line", e => BootTexts.Refuse(e, kernel));
        return misses;
    }

    // Upstream's TupleTest: these and no others, in this order.
    private void Sequence(List<BootMiss> misses, string code, int pcr, List<BootFact> seen, List<(string Name, BootDigestSet Allowed)> expected)
    {
        for (var i = 0; i < Math.Max(seen.Count, expected.Count); i++)
        {
            if (i >= seen.Count)
                misses.Add(BootMiss.Absent(BootEventMissing, pcr, $"the {expected[i].Name} was not measured", expected[i].Allowed.Describe(bank)));
            else if (i >= expected.Count)
                misses.Add(BootMiss.At(code, seen[i], $"one more than the reference state has, {Story(seen[i])}; {ItsDigest(bank, seen[i])}", "no such event", BootDigestSet.Text(bank, seen[i].Digest)));
            else if (!expected[i].Allowed.Allows(bank, seen[i].Digest))
                misses.Add(BootMiss.At(code, seen[i], $"the {expected[i].Name} is not in the policy; {ItsDigest(bank, seen[i])}", expected[i].Allowed.Describe(bank), BootDigestSet.Text(bank, seen[i].Digest)));
        }
    }

    private static void Single(List<BootMiss> misses, string code, int pcr, List<BootFact> seen, string name, Func<BootFact, BootMiss?> judge)
    {
        if (seen.Count == 0)
            misses.Add(BootMiss.Absent(BootEventMissing, pcr, $"the {name} was not measured", "one"));
        foreach (var (i, e) in seen.Index())
        {
            if (i > 0)
                misses.Add(BootMiss.At(code, e, $"a second {name}, {Story(e)}", "one", "a second one"));
            else if (judge(e) is { } miss)
                misses.Add(miss);
        }
    }

    private void Once(in BootFact e, string what, int most)
    {
        if ((_times[what] = _times.GetValueOrDefault(what) + 1) > most)
            Refuse(e, $"{what} comes {_times[what]} times", most == 1 ? "once" : $"at most {most} times");
    }

    private void Refuse(in BootFact e, string what, string expected) => findings.Add(BootReferenceState, e, what, expected, BootDigestSet.Text(bank, e.Digest));

    private static BootDigestSet Set(string sha256)
    {
        var set = new BootDigestSet();
        set.Add(TpmAlgorithm.Sha256, sha256);
        return set;
    }

    private static bool IsBootName(string name) =>
        name == "BootOrder" || name.StartsWith("Boot", StringComparison.Ordinal) && name.Length > 4 && name.Skip(4).All(char.IsAsciiHexDigit);
}

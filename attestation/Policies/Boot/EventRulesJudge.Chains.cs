using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;
using static Keylime.Attestation.BootWords;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <content>What is started behind the firmware: programs, command lines, files and sections, held against each alternative of the policy.</content>
internal sealed partial class EventRulesJudge
{
    // Texts whose UTF-16 form Linux's EFI stub measures into PCR 9, by its digest; the log does not have the text there.
    private Dictionary<string, string> _loadOptions = [];

    private void JudgeText(in BootFact e)
    {
        if (e.ProvenText is not { } text || BootTexts.IsCommandLine(e, text))
        {
            _lines.Add(e); // a text that is not proven can only pass by its digest
            return;
        }

        if (_rules.LoaderCommands is { } rule && (rule.Allows(text) || rule.Digests.Allows(_bank, e.Digest)))
            return;
        if (!TakeVolatile(e))
            Refuse(BootEventNotAllowed, e, $"the boot loader's command '{Printable(text)}' is not in the policy", _rules.LoaderCommands?.Describe() ?? "commands that a rule names");
    }

    private void JudgeChains()
    {
        _loadOptions = ListLoadOptions();
        _files.RemoveAll(file => !IsBooted(file) && TakeVolatile(file));
        IReadOnlyList<BootChain> alternatives = _rules.Boot.IsEmpty ? [BootChain.Nothing] : _rules.Boot;
        foreach (var miss in BootMiss.Nearest(alternatives, static c => $"'{c.Name}'", JudgeChain))
            _findings.Add(miss);
    }

    private IReadOnlyList<BootMiss> JudgeChain(BootChain chain)
    {
        var misses = new List<BootMiss>();
        JudgeImages(misses, chain);
        var lines = JudgeLines(misses, chain);
        lines += JudgeFiles(misses, chain);
        JudgeSections(misses, chain);
        if (chain.CommandLine is { } rule && lines == 0)
            misses.Add(BootMiss.Absent(BootEventMissing, Judged(8, 12, 9), "the kernel's command line was not measured", rule.Describe()));
        return misses;
    }

    private void JudgeImages(List<BootMiss> misses, BootChain chain)
    {
        var steps = chain.Images;
        var (at, times) = (0, 0);
        foreach (var e in _images)
        {
            if (FindStep(steps, at, times, e) is { } fit)
            {
                (at, times) = (fit, fit == at ? times + 1 : 1);
                continue;
            }

            var open = times > 0 ? at + 1 : at;
            if (open < steps.Length)
            {
                misses.Add(BootMiss.At(BootImageNotAllowed, e, $"the {steps[open].Words} is not in the policy; {ItsDigest(_bank, e)}{Place(chain, e)}", steps[open].Digests.Describe(_bank), BootDigestSet.Text(_bank, e.Digest)));
                (at, times) = (open, 1); // taken for it, so that what follows is held against what follows
            }
            else
            {
                misses.Add(BootMiss.At(BootImageNotAllowed, e, $"one more program than the policy has, {Story(e)}; {ItsDigest(_bank, e)}", "no such event", BootDigestSet.Text(_bank, e.Digest)));
            }
        }

        for (var i = times > 0 ? at + 1 : at; i < steps.Length; i++)
        {
            if (steps[i].Required)
                misses.Add(BootMiss.Absent(BootEventMissing, 4, $"the {steps[i].Words} was not started", steps[i].Digests.Describe(_bank)));
        }
    }

    // The step that a program is: the one before it once more, or the next that fits, past those that need not come.
    private int? FindStep(ImmutableArray<ImageStep> steps, int at, int times, in BootFact e)
    {
        for (var i = at; i < steps.Length; i++)
        {
            var isFull = i == at && times >= steps[i].Most;
            if (!isFull && steps[i].Digests.Allows(_bank, e.Digest))
                return i;
            var mayPass = !steps[i].Required || i == at && times > 0;
            if (!mayPass)
                return null;
        }

        return null;
    }

    private string Place(BootChain chain, in BootFact e)
    {
        var digest = e.Digest;
        return chain.Images.FirstOrDefault(step => step.Digests.Allows(_bank, digest)) is { } other ? $", which is the policy's {other.Words}, out of order" : "";
    }

    private int JudgeLines(List<BootMiss> misses, BootChain chain)
    {
        foreach (var e in _lines)
        {
            var rule = chain.CommandLine ?? TextRule.None;
            if (rule.Digests.Allows(_bank, e.Digest) || e.ProvenText is { } known && rule.Allows(known))
                continue;
            misses.Add(e.ProvenText is { } text
                ? BootMiss.At(BootCommandLineNotAllowed, e, $"the kernel's command line '{Printable(text)}' is not in the policy", rule.Describe(), Printable(text))
                : BootMiss.At(BootCommandLineNotAllowed, e, $"{Story(e)} is not what was measured, so only its digest could be in the policy; {ItsDigest(_bank, e)}", rule.Describe(), BootDigestSet.Text(_bank, e.Digest)));
        }

        return _lines.Count;
    }

    // PCR 9: the digest of a file says which file it is; its name in the log does not.
    private int JudgeFiles(List<BootMiss> misses, BootChain chain)
    {
        var (initrds, kernels, lines) = (0, 0, 0);
        foreach (var e in _files)
        {
            if (chain.Initrd.Allows(_bank, e.Digest))
                initrds++;
            else if (chain.KernelFile.Allows(_bank, e.Digest))
                kernels++;
            else if (chain.CommandLine is { } rule && (rule.Digests.Allows(_bank, e.Digest) || _loadOptions.TryGetValue(Convert.ToHexStringLower(e.Digest.Span), out var text) && rule.Allows(text)))
                lines++;
            else
                misses.Add(UnknownFile(e, chain));
        }

        if (!chain.Initrd.IsEmpty && initrds == 0)
            misses.Add(BootMiss.Absent(BootEventMissing, 9, "the policy's initrd was not measured", chain.Initrd.Describe(_bank)));
        if (!chain.KernelFile.IsEmpty && kernels == 0)
            misses.Add(BootMiss.Absent(BootEventMissing, 9, "the policy's kernel file was not measured", chain.KernelFile.Describe(_bank)));
        return lines;
    }

    private BootMiss UnknownFile(in BootFact e, BootChain chain)
    {
        var seen = BootDigestSet.Text(_bank, e.Digest);
        return BootFiles.Guess(e) switch
        {
            BootFileKind.Initrd => BootMiss.At(BootImageNotAllowed, e, $"the initrd is not in the policy; {ItsDigest(_bank, e)}", chain.Initrd.Describe(_bank), seen),
            BootFileKind.Kernel => BootMiss.At(BootImageNotAllowed, e, $"the kernel file is not in the policy; {ItsDigest(_bank, e)}", chain.KernelFile.Describe(_bank), seen),
            BootFileKind.CommandLine => BootMiss.At(BootCommandLineNotAllowed, e, $"the kernel's command line is not in the policy; the log has no text of it, and {ItsDigest(_bank, e)}", (chain.CommandLine ?? TextRule.None).Describe(), seen),
            _ => BootMiss.At(BootEventNotAllowed, e, $"no rule of the policy names it: {e.UntrustedTypeName}, {Story(e)}; {ItsDigest(_bank, e)}", "an event that a rule names", seen),
        };
    }

    // systemd-stub measures the name of each section, and then the section. The name hashes to its digest; of the section there is the digest alone.
    private void JudgeSections(List<BootMiss> misses, BootChain chain)
    {
        var (name, seen) = ((string?)null, new HashSet<string>());
        foreach (var e in _sections)
        {
            if (e is { Measured: MeasuredPart.AsciiText, ProvenText: { } next })
            {
                name = next;
                if (!chain.Sections.ContainsKey(next))
                    misses.Add(BootMiss.At(BootImageNotAllowed, e, $"the section {Printable(next)} of the kernel image is not in the policy", string.Join(", ", chain.Sections.Keys), Printable(next)));
            }
            else if (name is not null && chain.Sections.TryGetValue(name, out var allowed))
            {
                if (!allowed.Allows(_bank, e.Digest))
                    misses.Add(BootMiss.At(BootImageNotAllowed, e, $"the section {name} of the kernel image is not in the policy; {ItsDigest(_bank, e)}", allowed.Describe(_bank), BootDigestSet.Text(_bank, e.Digest)));
                seen.Add(name);
                name = null;
            }
            else if (name is null)
            {
                misses.Add(BootMiss.At(BootEventNotAllowed, e, $"no rule of the policy names it: {e.UntrustedTypeName}, {Story(e)}; {ItsDigest(_bank, e)}", "an event that a rule names", BootDigestSet.Text(_bank, e.Digest)));
            }
            else
            {
                name = null; // of a section whose name was refused
            }
        }

        foreach (var (missing, allowed) in chain.Sections.Where(s => !seen.Contains(s.Key)))
            misses.Add(BootMiss.Absent(BootEventMissing, 11, $"the section {missing} of the kernel image was not measured", allowed.Describe(_bank)));
    }

    private bool IsBooted(BootFact e) =>
        _loadOptions.ContainsKey(Convert.ToHexStringLower(e.Digest.Span))
        || _rules.Boot.Any(c => c.Initrd.Allows(_bank, e.Digest) || c.KernelFile.Allows(_bank, e.Digest) || c.CommandLine?.Digests.Allows(_bank, e.Digest) == true);

    private Dictionary<string, string> ListLoadOptions()
    {
        var digests = new Dictionary<string, string>();
        foreach (var text in _lines.Select(static e => e.ProvenText).OfType<string>().Concat(_rules.Boot.SelectMany(static c => c.CommandLine?.Texts ?? [])))
        {
            foreach (var form in BootTexts.LoadOptions(text))
                digests[Convert.ToHexStringLower(CryptographicOperations.HashData(_bank.HashName(), Encoding.Unicode.GetBytes(form)))] = text;
        }

        return digests;
    }

    private int Judged(params ReadOnlySpan<int> pcrs)
    {
        foreach (var pcr in pcrs)
        {
            if (_rules.Pcrs.Contains(pcr))
                return pcr;
        }

        return pcrs[0];
    }
}

using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>One good boot, taken apart for making event rules.</summary>
internal sealed class BootStory
{
    public required int Number { get; init; }

    /// <summary>What the landmarks object to: such a boot is no model.</summary>
    public required IReadOnlyList<Finding> Objections { get; init; }

    public List<BootFact> Firmware { get; } = [];

    /// <summary>PCR 7 before the separator.</summary>
    public List<BootEventData.EfiVariable> Configuration { get; } = [];

    /// <summary>PCR 7 behind it.</summary>
    public List<BootEventData.EfiVariable> Authorities { get; } = [];

    /// <summary>PCR 4 behind the separator, of the boot option that did not return.</summary>
    public List<BootFact> Images { get; } = [];

    public List<BootFact> Lines { get; } = [];

    public List<string> Commands { get; } = [];

    public List<BootFact> Files { get; } = [];

    public List<BootFact> Sections { get; } = [];

    public Dictionary<string, BootFact> Mok { get; } = [];

    /// <summary>All that has no place of its own, to be named by its digest.</summary>
    public List<BootFact> Others { get; } = [];

    public HashSet<string> Classes { get; } = [];

    public static BootStory Read(IReadOnlyList<BootFact> events, int number, TpmAlgorithm bank, PcrSet pcrs)
    {
        var findings = new BootFindings();
        var landmarks = new BootLandmarks(bank, findings);
        var objections = new List<Finding>();
        var story = new BootStory { Number = number, Objections = objections };
        foreach (var e in events)
        {
            if (!landmarks.Take(e, out var action))
                story.Take(e, landmarks);
            else if (action == BootLandmarks.EnteringSetup)
                story.Classes.Add("firmware-setup");
            else if (action == BootLandmarks.ReturningFromBootOption)
                story.Return();
        }

        landmarks.Close(pcrs);
        objections.AddRange(findings.Close().Findings);
        return story;
    }

    private void Return()
    {
        Classes.Add("boot-attempts");
        Images.Clear();
    }

    private void Take(in BootFact e, BootLandmarks landmarks)
    {
        switch (e.Pcr)
        {
            case 0:
                Firmware.Add(e);
                break;
            case 4 when landmarks.IsSeparated(4):
                Images.Add(e);
                break;
            case 7 when e.ProvenVariable is { } variable:
                (landmarks.IsSeparated(7) ? Authorities : Configuration).Add(variable);
                break;
            case 8 or 12 when e.ProvenText is { } text:
                if (BootTexts.IsCommandLine(e, text))
                    Lines.Add(e);
                else
                    Commands.Add(text);
                break;
            case 9 when BootFiles.Guess(e) != BootFileKind.Other:
                Files.Add(e);
                break;
            case 11:
                Sections.Add(e);
                break;
            case 14 when e.UntrustedData is BootEventData.Ipl { Text: "MokList" or "MokListX" } ipl && !Mok.ContainsKey(ipl.Text):
                Mok[ipl.Text] = e;
                break;
            default:
                Others.Add(e);
                break;
        }
    }
}

namespace Keylime.Attestation;

/// <summary>Findings about a boot log: all counted, the first of the log kept, in its order.</summary>
internal sealed class BootFindings
{
    private const int Missing = int.MaxValue; // behind all events

    private readonly List<(int Index, int Turn, Finding Finding)> _kept = [];
    private int _count;

    public bool Any => _count > 0;

    public int Count => _count;

    /// <param name="what">Behind "PCR 4, event 23: ".</param>
    public void Add(string code, in BootFact e, string what, string expected, string seen) =>
        Keep(e.Index, new Finding(code, $"PCR {e.Pcr}, event {e.Index}: {what}.")
        {
            Event = new MeasuredEvent(e.Pcr, e.Index, e.UntrustedTypeName, expected, seen),
        });

    /// <summary>Something that the whole log does not have.</summary>
    /// <param name="what">Behind "PCR 4: ".</param>
    public void AddMissing(string code, int pcr, string what, string expected) =>
        Keep(Missing, new Finding(code, $"PCR {pcr}: {what}.") { Event = new MeasuredEvent(pcr, -1, "", expected, "") });

    public void Add(BootMiss miss)
    {
        if (miss.Event is { } e)
            Add(miss.Code, e, miss.What, miss.Expected, miss.Seen);
        else
            AddMissing(miss.Code, miss.Pcr, miss.What, miss.Expected);
    }

    public BootAppraisal Close()
    {
        Trim();
        return new BootAppraisal([.. _kept.Select(static k => k.Finding)], _count);
    }

    private void Keep(int index, Finding finding)
    {
        _kept.Add((index, _count++, finding));
        if (_kept.Count >= 8 * BootPolicy.MaxFindings) // a log of 65,536 bad events keeps no more than this
            Trim();
    }

    private void Trim()
    {
        _kept.Sort(static (a, b) => (a.Index, a.Turn).CompareTo((b.Index, b.Turn)));
        if (_kept.Count > BootPolicy.MaxFindings)
            _kept.RemoveRange(BootPolicy.MaxFindings, _kept.Count - BootPolicy.MaxFindings);
    }
}

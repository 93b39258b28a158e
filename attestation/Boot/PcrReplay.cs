using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>One PCR while a log is replayed into it.</summary>
internal sealed class PcrReplay
{
    private const byte HcrtmLocality = 4;

    private readonly int _pcr;
    private readonly TpmAlgorithm _bank;
    private readonly int _size;
    private readonly byte[] _running; // the PCR, and behind it what is extended next
    private readonly List<BootEvent> _events = [];
    private BootEvent? _lacking; // the first event without a digest for this bank
    private byte _locality;

    public PcrReplay(int pcr, TpmAlgorithm bank)
    {
        (_pcr, _bank, _size) = (pcr, bank, bank.DigestSize());
        _running = new byte[2 * _size];
    }

    public void Take(BootEvent next)
    {
        if (next.IsRemark)
        {
            // Only what comes before the first measurement can be a start; whether it was one, the quoted value tells.
            if (next.UntrustedData is BootEventData.StartupLocality { Locality: var locality } && _pcr == 0 && _events.Count == 0)
                _locality = locality;
            return;
        }

        if (next.UntrustedType == BootEventTypes.HcrtmEvent && _pcr == 0 && _events.Count == 0)
            _locality = HcrtmLocality; // Part 1, 34.3: an H-CRTM sequence starts PCR 0 from 4
        if (next.Digest(_bank) is null)
            _lacking ??= next;
        _events.Add(next);
    }

    /// <returns>The objection; <see langword="null"/> where the events lead to the quoted value.</returns>
    public Finding? Compare(ReadOnlySpan<byte> quoted)
    {
        if (_lacking is { } lacking)
        {
            return new Finding(BootBankMissing, $"PCR {_pcr}, event {lacking.Index}: it has no digest for bank {_bank.ProtocolName()}, which the quote is of.")
            {
                Event = new MeasuredEvent(_pcr, lacking.Index, lacking.TypeName, $"a digest of {_bank.ProtocolName()}", ""),
            };
        }

        var at = Run(quoted);
        if (at == _events.Count)
            return null;

        var seen = Convert.ToHexStringLower(quoted);
        if (_events.Count == 0)
            return new Finding(BootPcrMismatch, $"PCR {_pcr}: the boot log has no event for it, and its quoted value is {seen}: something was measured that the log leaves out.");

        if (at >= 0)
        {
            var extra = _events[at];
            return new Finding(BootPcrMismatch, $"PCR {_pcr}, event {extra.Index}: the quoted value is reached before it; this event and {_events.Count - at - 1} behind it were not measured.")
            {
                Event = Describe(extra, "no further event"),
            };
        }

        if (_events.Find(Contradicts) is { } changed)
        {
            return new Finding(BootPcrMismatch, $"PCR {_pcr}: the log's {_events.Count} events do not lead to the quoted value {seen}. Event {changed.Index} ({changed.TypeName}) has data that do not hash to its digest.")
            {
                Event = Describe(changed, "a digest of its data"),
            };
        }

        return new Finding(BootPcrMismatch, $"PCR {_pcr}: the log's {_events.Count} events lead to {Convert.ToHexStringLower(_running.AsSpan(0, _size))}, and the quoted value is {seen}: events are missing, added, changed or of another order.");
    }

    private MeasuredEvent Describe(BootEvent one, string expected) =>
        new(_pcr, one.Index, one.TypeName, expected, $"{_bank.ProtocolName()}:{Convert.ToHexStringLower(one.Digest(_bank)!.Value.Span)}");

    // How many events lead to the quoted value, all of them rather than fewer; -1 where no number does.
    private int Run(ReadOnlySpan<byte> quoted)
    {
        Start();
        var reached = Matches(quoted) ? 0 : -1;
        for (var i = 0; i < _events.Count; i++)
        {
            _events[i].Digest(_bank)!.Value.Span.CopyTo(_running.AsSpan(_size));
            FastHash.Compute(_bank, _running, _running.AsSpan(0, _size));
            if (Matches(quoted))
                reached = i + 1;
        }

        return reached;
    }

    // PC Client Platform TPM Profile 1.05, 4.6.2: 17 to 22 are ones until a dynamic launch makes them zeros.
    private void Start()
    {
        _running.AsSpan().Clear();
        if (_pcr is >= 17 and <= 22 && _events.Count == 0)
            _running.AsSpan(0, _size).Fill(0xFF);
        if (_pcr == 0)
            _running[_size - 1] = _locality;
    }

    private bool Matches(ReadOnlySpan<byte> quoted) => _running.AsSpan(0, _size).SequenceEqual(quoted);

    // Types whose digest is always the hash of the data: where it is not, somebody changed one or the other, or the type.
    private bool Contradicts(BootEvent one) =>
        one.UntrustedType is BootEventTypes.Separator or BootEventTypes.VariableDriverConfig or BootEventTypes.EfiAction
        && DataRelation.Find(one, _bank, one.Digest(_bank)!.Value.Span) == MeasuredPart.None;
}

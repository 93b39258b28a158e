using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>The measurement list of Linux IMA: replays it into the PCR 10 of a quote, and judges the lines that the quote proves.</summary>
public static class ImaLog
{
    /// <summary>How many findings are kept; all are counted.</summary>
    public const int MaxFindings = 32;

    /// <summary>Behind so many entries that cannot be read nobody reads on: nothing there can be proven any more.</summary>
    public const int MaxMalformed = 1000;

    private const int Pcr = 10;

    /// <summary>Replays lines from a checkpoint, or from the list's start, up to the line where PCR 10 has the quoted value.</summary>
    /// <remarks>
    /// Lines behind that one are not looked at: the list was read after the quote, and they come again with the next one. If no line leads to
    /// the quoted value nothing is proven; the lines are judged all the same, so that a person sees what is in them.
    /// An agent may send the whole list where only the rest was asked for: it is believed if it leads from zeros to the quoted value, which
    /// proves it anew.
    /// A violation (a template hash of zeros: the file was open for writing while it was measured) extends all ones, and has no digest that
    /// could be judged: the policy says which are tolerated.
    /// </remarks>
    /// <param name="lines">Whole lines, each with its line feed; or whole entries of the binary form.</param>
    /// <param name="start">Where the lines start; <see langword="null"/> for the list's start.</param>
    /// <param name="at">When the evidence came: a layer of the policy that has run out by then allows nothing.</param>
    public static ImaResult Appraise(
        VerifiedQuote quote, ReadOnlyMemory<byte> lines, ImaListFormat format, ImaCheckpoint? start, RuntimePolicy policy, DateTimeOffset at)
    {
        ArgumentNullException.ThrowIfNull(quote);
        ArgumentNullException.ThrowIfNull(policy);

        var from = start?.Entries ?? 0;
        if (!quote.Pcrs.Covered.Contains(Pcr))
            return new ImaResult(null, from, from, [new Finding(ImaPcrMismatch, "PCR 10 was not quoted.")], 1);

        var isStale = start is not null && (start.Bank != quote.Pcrs.Bank || start.ResetCount != quote.Clock.ResetCount);
        var result = isStale
            ? new ImaResult(null, from, from, [new Finding(
                ImaCheckpointStale,
                $"The list was sent from line {from}, proven before reset {start!.ResetCount}; the quote is of reset {quote.Clock.ResetCount}. The next attestation starts at line 0.")], 1)
            : new Replay(quote, policy, start, at).Run(new ImaReader(lines.Span, format, policy.LogHash.DigestSize()), from);
        if (result.Proven is not null || start is null)
            return result;

        var whole = new Replay(quote, policy, null, at).Run(new ImaReader(lines.Span, format, policy.LogHash.DigestSize()), 0);
        return whole is { Proven.Entries: > 0 } ? whole : result;
    }

    private ref struct Replay
    {
        private readonly VerifiedQuote _quote;
        private readonly RuntimePolicy _policy;
        private readonly DateTimeOffset _at;
        private readonly TpmAlgorithm _bank;
        private readonly TpmAlgorithm _logHash;
        private readonly int _size;
        private readonly byte[] _running = new byte[2 * TpmAlgorithms.MaxDigestSize]; // the PCR, and behind it what is extended next
        private readonly ImaFindings _findings = new();
        private readonly ImaJudge _judge;
        private int _malformed;
        private bool _broken;

        public Replay(VerifiedQuote quote, RuntimePolicy policy, ImaCheckpoint? start, DateTimeOffset at)
        {
            (_quote, _policy, _at) = (quote, policy, at);
            (_bank, _logHash) = (quote.Pcrs.Bank, policy.LogHash);
            _size = _bank.DigestSize();
            _judge = new ImaJudge(policy, quote.Pcrs, start?.State ?? ImaState.Empty, at, _findings);
            start?.Aggregate.Span.CopyTo(_running);
        }

        public ImaResult Run(ImaReader reader, long from)
        {
            var quoted = _quote.Pcrs[Pcr].Span;
            var at = from;
            var matched = Matches(quoted);
            if (matched && from == 0)
                _findings.Add(new Finding(ImaLogEmpty, "PCR 10 has its value of after a reset: nothing has been measured."));

            while (!matched && _malformed < MaxMalformed && reader.Next(out var entry, out var wrong) is var step and not ImaStep.End)
            {
                if (step == ImaStep.Entry)
                    Take(entry, at);
                else
                    Refuse(wrong!, at);
                at++;
                matched = !_broken && Matches(quoted);
                if (step == ImaStep.Lost)
                    break;
            }

            if (matched)
                _judge.Complete();
            var mismatch = matched ? null : new Finding(
                ImaPcrMismatch, $"No line from {from} to {at} leads to the quoted PCR 10: lines are missing, changed or of another order.");
            // The cause first: behind a line that cannot be read nothing can match.
            var (kept, count) = _findings.Finish(_policy, _at, mismatch, _broken);
            var proven = matched ? new ImaCheckpoint(at, _bank, quoted.ToArray(), _quote.Clock.ResetCount) { State = _judge.State } : null;
            return new ImaResult(proven, from, at, kept, count) { Tally = _judge.Tally };
        }

        private readonly bool Matches(ReadOnlySpan<byte> quoted) => _running.AsSpan(0, _size).SequenceEqual(quoted);

        private void Refuse(string wrong, long at)
        {
            _malformed++;
            _broken = true; // what it extended cannot be known, so nothing behind it can match
            _findings.Add(new Finding(ImaLineMalformed, $"Line {at}: {wrong}."));
            if (_malformed == MaxMalformed)
                _findings.Add(new Finding(ImaLineMalformed, $"Line {at}: {MaxMalformed} lines could not be read; those behind it are not looked at."));
        }

        private void Take(in ImaRecord entry, long at)
        {
            if (entry.Pcr != Pcr)
            {
                _findings.Add(new Finding(ImaPcrIndex, $"Line {at} is of PCR {entry.Pcr}, which the quote does not prove; 10 is expected."));
                return;
            }

            var next = _running.AsSpan(_size, _size);
            if (entry.Template is null)
            {
                _findings.Add(new Finding(
                    ImaTemplateUnsupported,
                    $"Line {at}: template '{PrintablePath.From(entry.TemplateName)}' is neither one of the kernel's own nor a list of its fields that begins with a digest and a name."));
                _broken |= entry.Data.IsEmpty && !entry.IsViolation; // of the binary form the bytes are known all the same
            }

            if (entry.IsViolation)
                next.Fill(0xFF); // kernel: a violation extends ones in every bank
            else
                FastHash.Compute(_bank, entry.Data, next);

            if (entry.Template is null)
            {
                Extend();
                return;
            }

            if (entry.IsViolation)
                _judge.JudgeViolation(entry, at);
            else if (HashMatches(entry, next))
                _judge.Judge(entry, at);
            else
                _findings.Add(ImaTemplateHashMismatch, $"has a template hash of {entry.TemplateHash.Length} bytes that its line does not hash to with {_logHash.ProtocolName()}", entry, at, []);
            Extend();
        }

        private readonly bool HashMatches(in ImaRecord entry, ReadOnlySpan<byte> ofBank)
        {
            if (_logHash == _bank)
                return entry.TemplateHash.SequenceEqual(ofBank);

            Span<byte> computed = stackalloc byte[TpmAlgorithms.MaxDigestSize];
            computed = computed[.._logHash.DigestSize()];
            FastHash.Compute(_logHash, entry.Data, computed);
            return entry.TemplateHash.SequenceEqual(computed);
        }

        private readonly void Extend() => FastHash.Compute(_bank, _running.AsSpan(0, 2 * _size), _running.AsSpan(0, _size));
    }
}

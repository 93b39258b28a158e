using System.Collections.Immutable;
using System.Text;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>The measurement list of Linux IMA: replays it into the PCR 10 of a quote, and judges the lines that the quote proves.</summary>
public static class ImaLog
{
    /// <summary>How many findings are kept; all are counted.</summary>
    public const int MaxFindings = 32;

    private const int Pcr = 10;

    /// <summary>Replays lines from a checkpoint, or from the list's start, up to the line where PCR 10 has the quoted value.</summary>
    /// <remarks>
    /// Lines behind that one are not looked at: the list was read after the quote, and they come again with the next one. If no line leads to
    /// the quoted value nothing is proven; the lines are judged all the same, so that a person sees what is in them.
    /// A violation (a template hash of zeros: the file was open for writing while it was measured) extends all ones, and has no digest that
    /// could be judged: it is a finding, unless the policy excludes its path.
    /// </remarks>
    /// <param name="lines">Whole lines, each with its line feed.</param>
    /// <param name="start">Where the lines start; <see langword="null"/> for the list's start.</param>
    public static ImaResult Appraise(VerifiedQuote quote, ReadOnlyMemory<byte> lines, ImaCheckpoint? start, RuntimePolicy policy)
    {
        ArgumentNullException.ThrowIfNull(quote);
        ArgumentNullException.ThrowIfNull(policy);

        var from = start?.Entries ?? 0;
        if (!quote.Pcrs.Covered.Contains(Pcr))
            return new ImaResult(null, from, from, [new Finding(ImaPcrMismatch, "PCR 10 was not quoted.")], 1);

        if (start is not null && (start.Bank != quote.Pcrs.Bank || start.ResetCount != quote.Clock.ResetCount))
        {
            return new ImaResult(null, from, from, [new Finding(
                ImaCheckpointStale,
                $"The list was sent from line {from}, proven before reset {start.ResetCount}; the quote is of reset {quote.Clock.ResetCount}. The next attestation starts at line 0.")], 1);
        }

        return new Replay(quote, policy, start).Run(lines.Span, from);
    }

    private ref struct Replay
    {
        private readonly VerifiedQuote _quote;
        private readonly RuntimePolicy _policy;
        private readonly TpmAlgorithm _bank;
        private readonly TpmAlgorithm _logHash;
        private readonly int _size;
        private readonly byte[] _running = new byte[2 * TpmAlgorithms.MaxDigestSize]; // the PCR, and behind it what is extended next
        private readonly byte[] _data = new byte[ImaTemplates.MaxDataLength];
        private readonly ImmutableArray<Finding>.Builder _findings = ImmutableArray.CreateBuilder<Finding>();
        private int _count;
        private bool _broken;

        public Replay(VerifiedQuote quote, RuntimePolicy policy, ImaCheckpoint? start)
        {
            (_quote, _policy) = (quote, policy);
            (_bank, _logHash) = (quote.Pcrs.Bank, policy.LogHash);
            _size = _bank.DigestSize();
            start?.Aggregate.Span.CopyTo(_running);
        }

        public ImaResult Run(ReadOnlySpan<byte> lines, long from)
        {
            var quoted = _quote.Pcrs[Pcr].Span;
            var at = from;
            var matched = Matches(quoted);
            if (matched && from == 0)
                Add(new Finding(ImaLogEmpty, "PCR 10 has its value of after a reset: nothing has been measured."));

            while (!matched && !lines.IsEmpty)
            {
                var end = lines.IndexOf((byte)'\n');
                if (end < 0)
                {
                    Add(new Finding(ImaLineMalformed, $"Line {at}: it does not end with a line feed."));
                    at++;
                    break;
                }

                Take(lines[..end], at);
                lines = lines[(end + 1)..];
                at++;
                matched = !_broken && Matches(quoted);
            }

            if (matched)
                return new ImaResult(new ImaCheckpoint(at, _bank, quoted.ToArray(), _quote.Clock.ResetCount), from, at, _findings.DrainToImmutable(), _count);

            // The cause first: behind a line that cannot be read nothing can match.
            _findings.Insert(_broken ? _findings.Count : 0, new Finding(ImaPcrMismatch, $"No line from {from} to {at} leads to the quoted PCR 10: lines are missing, changed or of another order."));
            if (_findings.Count > MaxFindings)
                _findings.RemoveAt(MaxFindings);
            return new ImaResult(null, from, at, _findings.DrainToImmutable(), _count + 1);
        }

        private readonly bool Matches(ReadOnlySpan<byte> quoted) => _running.AsSpan(0, _size).SequenceEqual(quoted);

        private void Take(ReadOnlySpan<byte> text, long at)
        {
            if (ImaLine.TryParse(text, out var line) is { } wrong)
            {
                _broken = true; // what it extended cannot be known, so nothing behind it can match
                Add(new Finding(ImaLineMalformed, $"Line {at}: {wrong}."));
                return;
            }

            if (line.Pcr != Pcr)
            {
                Add(new Finding(ImaPcrIndex, $"Line {at} is of PCR {line.Pcr}, which the quote does not prove; 10 is expected."));
                return;
            }

            if (line.Template == ImaTemplate.Unsupported)
            {
                _broken = true;
                Add(new Finding(ImaTemplateUnsupported, $"Line {at}: template '{PrintablePath.From(line.TemplateName)}' is not supported; ima-ng and ima-sig are."));
                return;
            }

            var next = _running.AsSpan(_size, _size);
            if (!line.TemplateHash.ContainsAnyExcept((byte)'0'))
            {
                next.Fill(0xFF); // kernel: a violation extends ones in every bank
                Extend();
                if (!_policy.IsExcluded(line.Path))
                    AddFile(ImaViolation, "was open for writing while it was measured, so its digest is not known", line, at, []);
                return;
            }

            var data = _data.AsSpan(0, ImaTemplates.WriteData(line, _data));
            FastHash.Compute(_bank, data, next);
            if (!HashMatches(line.TemplateHash, data, next))
                AddFile(ImaTemplateHashMismatch, $"has a template hash that its line does not hash to with {_logHash.ProtocolName()}", line, at, []);
            else
                Judge(line, at);
            Extend();
        }

        private readonly bool HashMatches(ReadOnlySpan<byte> said, ReadOnlySpan<byte> data, ReadOnlySpan<byte> ofBank)
        {
            Span<byte> both = stackalloc byte[2 * TpmAlgorithms.MaxDigestSize];
            var size = _logHash.DigestSize();
            if (said.Length != 2 * size)
                return false;

            var decoded = both[..size];
            Hex.Decode(said, decoded);
            if (_logHash == _bank)
                return decoded.SequenceEqual(ofBank);

            var computed = both.Slice(size, size);
            FastHash.Compute(_logHash, data, computed);
            return decoded.SequenceEqual(computed);
        }

        private void Extend() => FastHash.Compute(_bank, _running.AsSpan(0, 2 * _size), _running.AsSpan(0, _size));

        private void Judge(in ImaLine line, long at)
        {
            Span<byte> digest = stackalloc byte[TpmAlgorithms.MaxDigestSize];
            digest = digest[..Hex.Decode(line.Digest, digest)];
            var found = _policy.Find(line.Path);
            if (found >= 0 && _policy.Allows(found, line.Algorithm, digest))
                return;
            if (_policy.IsExcluded(line.Path))
                return;

            if (found < 0)
                AddFile(ImaNotInPolicy, "is not in the runtime policy", line, at, []);
            else
                AddFile(ImaDigestNotAllowed, "has a digest that the runtime policy does not allow", line, at, _policy.AllowedAt(found));
        }

        private void AddFile(string code, string what, in ImaLine line, long at, ImmutableArray<string> allowed)
        {
            if (++_count > MaxFindings)
                return;

            var path = PrintablePath.From(line.Path);
            var seen = Encoding.ASCII.GetString(line.Algorithm) + ':' + Encoding.ASCII.GetString(line.Digest);
            _findings.Add(new Finding(code, $"Line {at}: {path} {what}.") { File = new MeasuredFile(path, seen, allowed, at) });
        }

        private void Add(Finding finding)
        {
            if (++_count <= MaxFindings)
                _findings.Add(finding);
        }
    }
}

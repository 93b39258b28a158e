using System.Collections.Immutable;
using System.Text;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Findings about a list: the first ones are kept, all are counted, and in the end each may learn where else its digest is known.</summary>
internal sealed class ImaFindings
{
    private const int MaxAllowed = 64;

    private readonly List<Finding> _kept = [];
    private readonly List<(int At, byte[] Digest)> _unknown = [];

    public int Count { get; private set; }

    public void Add(Finding finding)
    {
        if (++Count <= ImaLog.MaxFindings)
            _kept.Add(finding);
    }

    /// <summary>An objection to what an entry measured.</summary>
    /// <param name="what">Behind the path, as a sentence goes on.</param>
    public void Add(string code, string what, in ImaRecord entry, long line, ImmutableArray<string> allowed, StaleLayer? stale = null)
    {
        if (++Count > ImaLog.MaxFindings)
            return;

        var path = PrintablePath.From(entry.Path);
        var file = new MeasuredFile(path, Describe(entry), allowed.Length > MaxAllowed ? allowed[..MaxAllowed] : allowed, line) { Stale = stale };
        if (code is ImaNotInPolicy or ImaDigestNotAllowed)
            _unknown.Add((_kept.Count, entry.Digest.ToArray()));
        _kept.Add(new Finding(code, $"Line {line}: {path} {what}.") { File = file });
    }

    /// <param name="mismatch">Goes in front of the others where they do not explain it.</param>
    public (ImmutableArray<Finding> Kept, int Count) Finish(RuntimePolicy policy, DateTimeOffset at, Finding? mismatch, bool isExplained)
    {
        Hint(policy, at);
        if (mismatch is null)
            return ([.. _kept], Count);

        var all = isExplained ? _kept.Append(mismatch) : _kept.Prepend(mismatch);
        if (isExplained && _kept.Count == ImaLog.MaxFindings)
            all = _kept.Take(ImaLog.MaxFindings - 1).Append(mismatch);
        return ([.. all.Take(ImaLog.MaxFindings)], Count + 1);
    }

    // One walk through the policy for all of them, and only if there is something to look for.
    private void Hint(RuntimePolicy policy, DateTimeOffset at)
    {
        if (_unknown.Count == 0)
            return;
        var paths = policy.PathsOf([.. _unknown.Select(static u => u.Digest)], at);
        for (var i = 0; i < paths.Length; i++)
        {
            if (paths[i] is not { } known)
                continue;
            var finding = _kept[_unknown[i].At];
            _kept[_unknown[i].At] = finding with
            {
                Detail = $"{finding.Detail[..^1]}; the policy knows this digest as {known}.",
                File = finding.File! with { KnownAs = known },
            };
        }
    }

    private static string Describe(in ImaRecord entry)
    {
        var name = !entry.Algorithm.IsEmpty ? Encoding.ASCII.GetString(entry.Algorithm) : entry.Digest.Length == 16 ? "md5" : "sha1";
        return $"{name}:{Convert.ToHexStringLower(entry.Digest)}";
    }
}

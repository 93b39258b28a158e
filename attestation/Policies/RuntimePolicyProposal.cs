using System.Collections.Immutable;
using System.Text;
using System.Text.RegularExpressions;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>The smallest addition to a runtime policy that would have admitted what findings object to: for a person to review.</summary>
public sealed class RuntimePolicyProposal
{
    private static readonly UTF8Encoding Strict = new(false, true);

    private readonly List<string> _notes = [];

    private RuntimePolicyProposal()
    {
    }

    /// <summary>Only its digests, keyrings, buffers and the paths of its violations are used.</summary>
    public RuntimePolicyDocument Additions { get; } = new();

    /// <summary>What no list admits, and why.</summary>
    public ImmutableArray<string> Notes => [.. _notes];

    public bool IsEmpty => Additions.Digests.Count + Additions.Keyrings.Count + Additions.Buffers.Count == 0 && Additions.Violations is null;

    /// <param name="findings">Their codes, details and <see cref="Finding.File"/> are used, of this path and seen digest.</param>
    public static RuntimePolicyProposal From(IEnumerable<Finding> findings)
    {
        ArgumentNullException.ThrowIfNull(findings);
        var proposal = new RuntimePolicyProposal();
        foreach (var finding in findings)
            proposal.Add(finding);
        return proposal;
    }

    /// <summary>The additions as a fragment of a runtime policy: <c>{"digests":{…}}</c>.</summary>
    public byte[] ToJson() => Additions.WriteAdditions();

    /// <summary>Puts the additions into a policy.</summary>
    public void ApplyTo(RuntimePolicyDocument policy)
    {
        ArgumentNullException.ThrowIfNull(policy);
        foreach (var (from, into) in (ReadOnlySpan<(SortedDictionary<string, SortedSet<string>>, SortedDictionary<string, SortedSet<string>>)>)
            [(Additions.Digests, policy.Digests), (Additions.Keyrings, policy.Keyrings), (Additions.Buffers, policy.Buffers)])
        {
            foreach (var (name, digests) in from)
            {
                foreach (var digest in digests)
                    RuntimePolicyDocument.Add(into, name, digest);
            }
        }

        if (Additions.Violations is { } added)
            policy.Violations = new ViolationRules(policy.Violations?.Budget ?? 0, [.. (policy.Violations?.Paths ?? []).Union(added.Paths)]);
    }

    private void Add(Finding finding)
    {
        switch (finding.Code)
        {
            case ImaNotInPolicy or ImaDigestNotAllowed or ImaStale or ImaSignatureKeyUnknown or ImaBootAggregate:
                Admit(finding, Additions.Digests);
                break;
            case ImaKeyNotAllowed or ImaKeyMalformed:
                Admit(finding, Additions.Keyrings);
                break;
            case ImaBufferNotAllowed:
                Admit(finding, Additions.Buffers);
                break;
            case ImaViolation or ImaViolationBudget:
                if (TryReadPath(finding, out var path) && Additions.Violations?.Paths.Contains(Exactly(path)) != true)
                    Additions.Violations = new ViolationRules(0, [.. Additions.Violations?.Paths ?? [], Exactly(path)]);
                break;
            case ImaSignatureInvalid:
                _notes.Add($"{finding.Detail} A file whose signature is wrong was changed behind its signer's back: look at it before any list admits it.");
                break;
            default:
                if (finding.Code.StartsWith("ima.", StringComparison.Ordinal))
                    _notes.Add($"{finding.Detail} No list admits this.");
                break;
        }
    }

    private void Admit(Finding finding, SortedDictionary<string, SortedSet<string>> into)
    {
        if (!TryReadPath(finding, out var path) || finding.File is not { Seen: var seen })
            return;
        var digest = seen[(seen.LastIndexOf(':') + 1)..];
        if (digest.Length < 40)
            _notes.Add($"{finding.Detail} A digest of {digest.Length * 4} bits is too weak to be listed.");
        else
            RuntimePolicyDocument.Add(into, path, digest);
    }

    private bool TryReadPath(Finding finding, out string path)
    {
        path = "";
        if (finding.File is not { } file)
        {
            _notes.Add($"{finding.Detail} The finding names no file.");
            return false;
        }

        try
        {
            path = Strict.GetString(PrintablePath.Parse(file.Path) ?? throw new DecoderFallbackException());
            return path.Length > 0;
        }
        catch (DecoderFallbackException)
        {
            _notes.Add($"{finding.Detail} The path is no UTF-8, so no policy can name it; a pattern in excludes can.");
            return false;
        }
    }

    // As a pattern that matches this path and no longer one.
    private static string Exactly(string path) => Regex.Escape(path) + "$";
}

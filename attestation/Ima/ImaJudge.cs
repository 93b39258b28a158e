using System.Collections.Immutable;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Judges the entries of one list by one policy at one time: files here, buffers in the other part.</summary>
internal sealed partial class ImaJudge
{
    // A list may be full of wrong signatures: each costs as much as a right one, and proves nothing.
    private const int MaxWrongSignatures = 200;

    private readonly ImmutableArray<RuntimeLayer> _live;
    private readonly ImmutableArray<RuntimeLayer> _stale;
    private readonly RuntimeSettings _settings;
    private readonly ImaFindings _findings;
    private readonly VerifiedPcrs _pcrs;
    private BootAggregate? _bootAggregate;
    private ImaState _state;
    private ImaTally _tally;
    private int _wrongSignatures;

    public ImaJudge(RuntimePolicy policy, VerifiedPcrs pcrs, ImaState state, DateTimeOffset at, ImaFindings findings)
    {
        (_live, _stale) = policy.LayersAt(at);
        (_pcrs, _state, _findings) = (pcrs, state, findings);
        _settings = RuntimeSettings.Of(_live);
    }

    /// <summary>What later lines are judged by.</summary>
    public ImaState State => _state;

    public ImaTally Tally => _tally;

    /// <summary>What is wrong with a list that ends here.</summary>
    public void Complete()
    {
        if (_settings.Devices is not { } devices)
            return;
        foreach (var finding in _state.Devices.Complete(devices))
            _findings.Add(finding);
    }

    public void JudgeViolation(in ImaRecord entry, long line)
    {
        var spends = !IsExcluded(entry.Path) && !_settings.ViolationPaths.Matches(entry.Path);
        if (spends && _state.BudgetSpent >= _settings.ViolationBudget)
        {
            const string what = "was open for writing while it was measured, so its digest is not known";
            if (_settings.ViolationBudget == 0)
                _findings.Add(ImaViolation, what, entry, line, []);
            else
                _findings.Add(ImaViolationBudget, $"{what}; the policy tolerates {_settings.ViolationBudget} such in one boot, and there were as many before", entry, line, []);
            return;
        }

        _state = _state with { Violations = _state.Violations + 1, BudgetSpent = _state.BudgetSpent + (spends ? 1 : 0) };
        _tally = _tally with { Violations = _tally.Violations + 1 };
    }

    /// <param name="entry">One whose template hash is right.</param>
    public void Judge(in ImaRecord entry, long line)
    {
        if (entry.Template!.HasBuffer)
            JudgeBuffer(entry, line);
        else if (IsListed(entry.Path, entry))
            _tally = _tally with { Digests = _tally.Digests + 1 };
        else if (IsExcluded(entry.Path))
            _tally = _tally with { Excluded = _tally.Excluded + 1 };
        else
            JudgeUnlisted(entry, line);
    }

    private void JudgeUnlisted(in ImaRecord entry, long line)
    {
        if (IsOfClass(entry, line))
        {
            _tally = _tally with { ClassRules = _tally.ClassRules + 1 };
            return;
        }

        var signature = VerifySignature(entry, _live, _state.Keyrings);
        if (signature is SignatureResult.Verified)
        {
            _tally = _tally with { Signatures = _tally.Signatures + 1 };
            return;
        }

        if (StaleLayerOf(entry) is { } stale)
        {
            _findings.Add(ImaStale, $"is known only to the layer '{stale.Name}' of the policy, which was until {Text(stale.Until)}", entry, line, [], stale);
            return;
        }

        var boot = entry.Path.SequenceEqual(BootAggregate.Name) && _settings.BootAggregate.Mode == ClassRules.Check ? Aggregate : null;
        if (boot?.Decides(entry.Algorithm, entry.Digest) == true)
        {
            _findings.Add(ImaBootAggregate, $"is not the hash of the quoted PCRs 0 to 9, which is {boot.Expected}", entry, line, [boot.Expected]);
            return;
        }

        var allowed = AllowedFor(entry.Path, static rules => rules.Digests);
        var (code, what) = (signature, allowed) switch
        {
            (SignatureResult.Invalid, _) => (ImaSignatureInvalid, "is signed, and the signature is not right"),
            (SignatureResult.UnknownKey, []) => (ImaSignatureKeyUnknown, "is signed with a key that the policy does not know"),
            (_, []) => (ImaNotInPolicy, "is not in the runtime policy"),
            _ => (ImaDigestNotAllowed, "has a digest that the runtime policy does not allow"),
        };
        _findings.Add(code, what + Explain(signature, code, allowed) + ClassHint(entry.Path), entry, line, allowed);
    }

    private bool IsListed(ReadOnlySpan<byte> path, in ImaRecord entry)
    {
        foreach (var layer in _live)
        {
            if (layer.Rules.Digests.Contains(path, entry.Algorithm, entry.Digest))
                return true;
        }

        return false;
    }

    private bool IsExcluded(ReadOnlySpan<byte> path)
    {
        foreach (var layer in _live)
        {
            if (layer.Rules.Excludes.Matches(path))
                return true;
        }

        return false;
    }

    private bool IsOfClass(in ImaRecord entry, long line)
    {
        var path = entry.Path;
        if (path.SequenceEqual(BootAggregate.Name))
        {
            // Without a check the name alone says nothing: a file in a mount of its own may be measured under such a name, but never first.
            return _settings.BootAggregate.Mode switch
            {
                ClassRules.Check => Aggregate.Proves(entry.Algorithm, entry.Digest),
                ClassRules.Allow => line == 0,
                _ => false,
            };
        }

        if (ClassRules.IsMemfd(path))
            return _settings.Memfd.Mode == ClassRules.Allow;

        // The name is excused and not the content: the file is judged by what the policy lists for the name that dpkg will give it.
        return _settings.DpkgTemporary.Mode == ClassRules.Allow && ClassRules.TryStripDpkg(path, out var final) && IsListed(final, entry);
    }

    private BootAggregate Aggregate => _bootAggregate ??= new BootAggregate(_pcrs);

    private StaleLayer? StaleLayerOf(in ImaRecord entry)
    {
        foreach (var layer in _stale)
        {
            if (layer.Rules.Digests.Contains(entry.Path, entry.Algorithm, entry.Digest) || layer.Rules.Excludes.Matches(entry.Path)
                || VerifySignature(entry, [layer], KeyringSet.Empty) is SignatureResult.Verified)
            {
                return new StaleLayer(layer.Name, layer.Until!.Value);
            }
        }

        return null;
    }

    private ImmutableArray<string> AllowedFor(ReadOnlySpan<byte> name, Func<RuntimeRules, DigestTable> table)
    {
        var allowed = ImmutableArray<string>.Empty;
        foreach (var layer in _live)
        {
            if (table(layer.Rules) is var digests && digests.Find(name) is >= 0 and var found)
                allowed = [.. allowed, .. digests.Describe(found)];
        }

        return allowed.Length > 1 ? [.. allowed.Distinct()] : allowed;
    }

    /// <returns><see langword="null"/> where there is no signature, or no key at all: then nobody meant signatures to count.</returns>
    private SignatureResult? VerifySignature(in ImaRecord entry, ImmutableArray<RuntimeLayer> layers, KeyringSet learned)
    {
        if (entry.Signature.IsEmpty || learned.IsEmpty && layers.All(static l => l.Keys.IsEmpty))
            return null;
        if (!ImaSignature.TryParse(entry.Signature, out var signature, out var error))
            return new SignatureResult.Unsupported(error);
        if (_wrongSignatures >= MaxWrongSignatures)
            return new SignatureResult.Unsupported($"{MaxWrongSignatures} before it were wrong, so this one was not verified");

        var algorithm = entry.Algorithm.IsEmpty ? "sha1"u8 : entry.Algorithm;
        SignatureResult? result = null;
        foreach (var keys in (IEnumerable<KeyringSet>)[.. layers.Select(static l => l.Keys), learned])
        {
            if (keys.IsEmpty)
                continue;
            var next = keys.Verify(signature, entry.Digest, algorithm, entry.IsVerity);
            if (next is SignatureResult.Verified)
                return next;
            _wrongSignatures += next is SignatureResult.Invalid ? 1 : 0;
            result = result is null or SignatureResult.UnknownKey ? next : result;
        }

        return result;
    }

    // Which rules did not match, so that nobody has to guess whether signature or digest was meant to count.
    private static string Explain(SignatureResult? signature, string code, ImmutableArray<string> allowed) => signature switch
    {
        SignatureResult.Invalid invalid => $" ({invalid.Why}); {(allowed.IsEmpty ? "no digest is listed for its path" : "its digest is none of those listed")}",
        SignatureResult.UnknownKey unknown when code == ImaSignatureKeyUnknown => $" (key id {unknown.Id:x8}); no digest is listed for its path",
        SignatureResult.UnknownKey unknown => $"; it is signed with a key that the policy does not know (key id {unknown.Id:x8})",
        SignatureResult.Unsupported unsupported => $"; its signature does not count: {unsupported.Why}",
        _ => "",
    };

    private string ClassHint(ReadOnlySpan<byte> path) =>
        ClassRules.IsMemfd(path) && _settings.Memfd.Mode == ClassRules.Off ? $"; the class rule '{ClassRules.Memfd}' is off"
        : ClassRules.TryStripDpkg(path, out _) && _settings.DpkgTemporary.Mode == ClassRules.Off ? $"; the class rule '{ClassRules.DpkgTemporary}' is off"
        : "";

    private static string Text(DateTimeOffset time) => time.ToUniversalTime().ToString("yyyy-MM-dd HH:mm:ss'Z'", System.Globalization.CultureInfo.InvariantCulture);
}

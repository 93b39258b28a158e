using System.CommandLine;
using System.Text;
using Keylime.Attestation;

namespace Keylime.Tenant;

/// <summary>Puts a runtime policy together from the sources that a command line names.</summary>
internal sealed class RuntimePolicyMaker(Surroundings surroundings, ParseResult parsed, CreateRuntimeOptions options)
{
    /// <exception cref="CliException">A source cannot be read, none is named, or the service would refuse the policy.</exception>
    public async Task<PolicyDraft> MakeAsync(CancellationToken cancel)
    {
        var draft = new PolicyDraft(Base());
        using (var progress = new Progress(surroundings))
            AddFiles(draft, progress, cancel);
        await AddListsAsync(draft, cancel);
        foreach (var file in Values(options.Allowlist))
            AllowlistSource.Add(draft, file, await PolicyCommands.ReadAsync(surroundings, file, cancel));
        await SetAsync(draft, cancel);
        draft.Provenance.WriteTo(draft.Document);

        foreach (var lint in draft.Document.Lint())
        {
            if (lint.IsError)
                throw new CliException(Exits.Usage, PlainText.From($"{lint.Where}: {lint.Detail}"), lint.Code == "policy.empty" ? "name a source: keylime policy create runtime --help" : "the service would refuse such a policy");
            draft.Tell($"{lint.Where}: {lint.Detail}");
        }

        return draft;
    }

    private RuntimePolicyDocument Base()
    {
        if (parsed.GetValue(options.Base) is not { } file)
            return new RuntimePolicyDocument();
        return RuntimePolicyDocument.TryParse(Surroundings.ReadFile(file), out var document, out var error)
            ? document : throw new CliException(Exits.Usage, PlainText.From($"{file}: {error}"), "a runtime policy's JSON is expected, not signed");
    }

    private void AddFiles(PolicyDraft draft, Progress progress, CancellationToken cancel)
    {
        var algorithm = FileDigest.Named(parsed.GetValue(options.Algorithm)!);
        foreach (var root in Values(options.Rootfs))
            RootfsSource.Add(draft, root, Values(options.Skip), algorithm, progress, cancel);
        if (parsed.GetResult(options.Dpkg) is { Implicit: false })
            DpkgSource.Add(draft, parsed.GetValue(options.Dpkg) ?? "/", parsed.GetValue(options.AllowChanged), algorithm, progress, cancel);
        foreach (var packages in Values(options.Rpm))
            RpmSource.Add(draft, packages, progress, cancel);
        foreach (var initrd in Values(options.Initrd))
            InitrdSource.Add(draft, initrd, algorithm, progress, cancel);
    }

    private async Task AddListsAsync(PolicyDraft draft, CancellationToken cancel)
    {
        var (said, keyrings, buffers) = (parsed.GetValue(options.LogHash), parsed.GetValue(options.Keyrings), parsed.GetValue(options.ImaBuf));
        var hashes = new SortedSet<string>(StringComparer.Ordinal);
        foreach (var file in Values(options.ImaLog))
            hashes.Add(ImaListSource.Add(draft, file, await PolicyCommands.ReadAsync(surroundings, file, cancel), said, keyrings, buffers));
        if (Values(options.Node) is { Length: > 0 } nodes)
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            foreach (var node in nodes)
            {
                var list = await api.SendAsync(HttpMethod.Get, $"{NodeCommands.PathOf(node)}/measurement-list", null, cancel);
                hashes.Add(ImaListSource.Add(draft, node, list, said, keyrings, buffers));
            }
        }

        if (hashes.Count > 1)
            throw new CliException(Exits.Usage, $"the lists have the template hashes {string.Join(", ", hashes)}", "a policy has one: make one for each kind");
        if (said is null && hashes.Count == 1 && parsed.GetValue(options.Base) is not null && draft.Document.LogHash != hashes.Min)
            throw new CliException(Exits.Usage, $"the base is for lists with the template hash {draft.Document.LogHash}, and the list has {hashes.Min}", "--log-hash says which it shall be");
        draft.Document.LogHash = said ?? hashes.Min ?? draft.Document.LogHash;
    }

    private async Task SetAsync(PolicyDraft draft, CancellationToken cancel)
    {
        var document = draft.Document;
        foreach (var pattern in Values(options.Exclude).Concat(await ExcludesAsync(cancel)))
        {
            if (!document.Excludes.Contains(pattern))
                document.Excludes.Add(pattern);
        }

        document.IgnoredKeyrings.UnionWith(Values(options.IgnoredKeyring));
        if (parsed.GetValue(options.ViolationBudget) is { } budget)
            document.Violations = new ViolationRules(budget, document.Violations?.Paths ?? []);
        foreach (var rule in Values(options.ClassRule))
        {
            var (name, mode) = rule.IndexOf('=', StringComparison.Ordinal) is > 0 and var at ? (rule[..at], rule[(at + 1)..]) : (rule, "allow");
            document.ClassRules[name] = mode.IndexOf(':', StringComparison.Ordinal) is > 0 and var colon ? new ClassRuleText(mode[..colon], mode[(colon + 1)..]) : new ClassRuleText(mode, null);
        }

        AddKeys(document);
    }

    private async Task<List<string>> ExcludesAsync(CancellationToken cancel)
    {
        var patterns = new List<string>();
        foreach (var file in Values(options.ExcludeFile))
        {
            var text = Encoding.UTF8.GetString(await PolicyCommands.ReadAsync(surroundings, file, cancel));
            patterns.AddRange(text.Split('\n').Select(static l => l.TrimEnd('\r')).Where(static l => l.Length > 0 && l[0] != '#'));
        }

        return patterns;
    }

    private void AddKeys(RuntimePolicyDocument document)
    {
        if (Values(options.VerificationKey) is not { Length: > 0 } files)
            return;
        if (!Keyring.TryFromPolicy(document.VerificationKeys, out var keyring, out var error))
            throw new CliException(Exits.Usage, PlainText.From($"$.verification-keys of the base: {error}"), "a base whose keys can be read is expected");
        foreach (var file in files)
        {
            keyring = ImaKey.TryRead(Surroundings.ReadFile(file), out var key, out var wrong)
                ? keyring.Add(key) : throw new CliException(Exits.Usage, PlainText.From($"{file}: {wrong}"), "a certificate or a key is expected, PEM or DER");
        }

        document.VerificationKeys = keyring.ToPolicy();
    }

    private string[] Values(Option<string[]> option) => parsed.GetValue(option) ?? [];
}

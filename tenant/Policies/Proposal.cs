using Keylime.Attestation;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime node show --propose</c>: the smallest exception that would admit what the last verdict objects to. For a person to review; nothing is put.</summary>
internal static class Proposal
{
    public static async Task WriteAsync(Surroundings surroundings, NodeDetails details, string? output, CancellationToken cancel)
    {
        if (details.LastVerdict is not { Evaluation: "fail" } verdict)
            throw new CliException(Exits.Usage, $"the last verdict on {details.Node.Id} is no fail", "there is nothing to admit");
        if (verdict.FindingCount > verdict.Findings.Count)
            surroundings.Error.WriteLine($"warning: {verdict.FindingCount} findings, of which {verdict.Findings.Count} are kept: the next verdict has the others");

        var proposal = RuntimePolicyProposal.From(verdict.Findings.Select(static f => new Finding(f.Code, f.Detail)
        {
            File = f is { Path: { } path, Seen: { } seen } ? new MeasuredFile(path, seen, [.. f.Allowed ?? []], f.Line ?? -1) : null,
        }));
        foreach (var (path, digests) in proposal.Additions.Digests)
            surroundings.Error.WriteLine($"would allow {PlainText.From(path)} with {PlainText.From(string.Join(", ", digests))}");
        foreach (var (keyring, digests) in proposal.Additions.Keyrings)
            surroundings.Error.WriteLine($"would allow keys on the keyring {PlainText.From(keyring)}: {PlainText.From(string.Join(", ", digests))}");
        foreach (var (name, digests) in proposal.Additions.Buffers)
            surroundings.Error.WriteLine($"would allow the buffer {PlainText.From(name)} with {PlainText.From(string.Join(", ", digests))}");
        foreach (var pattern in proposal.Additions.Violations?.Paths ?? [])
            surroundings.Error.WriteLine($"would tolerate violations of {PlainText.From(pattern)}");
        foreach (var note in proposal.Notes)
            surroundings.Error.WriteLine($"note: {PlainText.From(note)}");
        foreach (var finding in verdict.Findings.Where(static f => f.Event is not null))
            surroundings.Error.WriteLine($"boot: {PlainText.From(finding.Detail)} Expected {PlainText.From(finding.Event!.Expected)}; a boot policy that allows {PlainText.From(finding.Event.Seen)} would admit it.");

        if (proposal.IsEmpty)
            throw new CliException(Exits.Failed, "no addition to a runtime policy admits this", "keylime policy create boot --node ID makes a boot policy of the boot that was proven");
        await PolicySource.WriteAsync(surroundings, output, proposal.ToJson(), cancel);
        if (details.Node.RuntimePolicy is { } policy)
            surroundings.Error.WriteLine($"if that is as it should be: keylime policy merge {policy} FILE --out NEW, and keylime policy put {policy} NEW");
    }
}

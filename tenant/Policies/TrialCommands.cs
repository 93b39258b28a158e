using System.CommandLine;
using System.Globalization;
using System.Net.Http.Headers;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime policy test</c>: what a text would make of what nodes proved last. Nothing changes.</summary>
internal static class TrialCommands
{
    /// <summary>Somebody would fail.</summary>
    public const int WouldFail = 3;

    private const int PageSize = 20;

    public static Command Test(Surroundings surroundings, Formats formats)
    {
        var source = new Argument<string>("POLICY") { Description = PolicySource.Description };
        var node = new Option<string?>("--node") { Description = "One node's evidence." };
        var all = new Option<bool>("--all") { Description = "Every node's." };
        var command = new Command("test", "Try a policy against the evidence that nodes proved last. Exit code 0 none would fail, 3 some would.") { source, node, all };
        command.SetAction(async (parsed, cancel) =>
        {
            if (parsed.GetValue(node) is null != parsed.GetValue(all))
                throw new CliException(Exits.Usage, "either --node ID or --all is expected", "--all may take a while: every node's last evidence is judged anew");
            using var api = new ServiceApi(Login.Load(surroundings));
            using var content = new ByteArrayContent((await PolicySource.ReadWholeAsync(surroundings, parsed.GetValue(source)!, cancel)).ToArray());
            content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
            var draft = await api.SendAsync(HttpMethod.Post, "/v1/policy-drafts", content, ApiJson.Default.PolicyDraft, cancel);
            foreach (var warning in draft.Warnings)
                surroundings.Error.WriteLine($"warning: {PlainText.From(warning)}");

            var trials = await TryAsync(surroundings, api, draft.Digest, parsed.GetValue(node), cancel);
            if (formats.IsJson(parsed))
                Output.WriteJson(surroundings, new PolicyTrialList(trials), ApiJson.Default.PolicyTrialList);
            else
                Write(surroundings, trials);
            return trials.Any(static t => t.Outcome == TrialOutcome.Fail) ? WouldFail : Exits.Ok;
        });
        return command;
    }

    private static async Task<IReadOnlyList<PolicyTrial>> TryAsync(Surroundings surroundings, ServiceApi api, string digest, string? node, CancellationToken cancel)
    {
        var path = $"/v1/policy-drafts/{digest}/trials";
        if (node is not null)
            return (await api.GetAsync($"{path}?node={Uri.EscapeDataString(node)}", ApiJson.Default.PolicyTrialList, cancel)).Trials;

        var trials = new List<PolicyTrial>();
        string? after = null;
        do
        {
            var page = await api.GetAsync(
                string.Create(CultureInfo.InvariantCulture, $"{path}?limit={PageSize}{(after is null ? "" : $"&after={Uri.EscapeDataString(after)}")}"), ApiJson.Default.PolicyTrialList, cancel);
            trials.AddRange(page.Trials);
            after = page.Next;
            if (after is not null)
                surroundings.Error.WriteLine($"{trials.Count} nodes tried …");
        }
        while (after is not null);
        return trials;
    }

    private static void Write(Surroundings surroundings, IReadOnlyList<PolicyTrial> trials)
    {
        var failing = trials.Where(static t => t.Outcome == TrialOutcome.Fail).ToList();
        var without = trials.Count(static t => t.Outcome == TrialOutcome.NoEvidence);
        surroundings.Out.WriteLine(failing.Count == 0
            ? $"would fail none of {trials.Count - without}"
            : $"would fail {failing.Count} of {trials.Count - without}:");
        foreach (var trial in failing)
        {
            surroundings.Out.WriteLine($"{trial.Node} (attestation {trial.Attestation})");
            foreach (var finding in trial.Findings)
                surroundings.Out.WriteLine($"  {PlainText.From(finding.Code)}: {PlainText.From(finding.Detail)}");
            if (trial.FindingCount > trial.Findings.Count)
                surroundings.Out.WriteLine($"  … and {trial.FindingCount - trial.Findings.Count} more");
        }

        if (without > 0)
            surroundings.Out.WriteLine($"{without} have no evidence that it could judge, which says nothing for them");
    }
}

using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Keylime.EndToEnd.Tests;

/// <summary>The books, compared.</summary>
public sealed partial class InstancesTests
{
    /// <summary>What an agent was answered is in its history, once; and its row counts as many as there are.</summary>
    private async Task<(int Accepted, int Kept)> CheckHistoryAsync()
    {
        var (accepted, all) = (0, 0);
        foreach (var agent in _agents)
        {
            var details = await GetAsync($"/v1/nodes/{agent.Id}");
            var verdicts = await ListAsync($"/v1/nodes/{agent.Id}/verdicts?limit=1000", "verdicts");
            var numbers = verdicts.Select(static v => v["attestation"]!.GetValue<long>()).ToHashSet();
            Assert.Equal(verdicts.Count, numbers.Count);
            Assert.DoesNotContain(agent.Accepted, number => !numbers.Contains(number));
            Assert.Equal(agent.Accepted.Count, agent.Accepted.Distinct().Count());
            Assert.All(verdicts, static v => Assert.Equal("pass", v["evaluation"]!.GetValue<string>()));
            Assert.Equal(verdicts.Count, details["node"]!["attestations"]!.GetValue<long>());
            (accepted, all) = (accepted + agent.Accepted.Count, all + verdicts.Count);
        }

        Assert.True(accepted > _agents.Count, $"{accepted}"); // a machine that is busy starts its instances slowly
        return (accepted, all);
    }

    /// <summary>Each event that the webhook wants came; and what came twice was on its way when a process died.</summary>
    private async Task<(int Told, int Copies)> CheckDeliveriesAsync(ConcurrentDictionary<string, bool> made, DateTimeOffset[] deaths)
    {
        var events = (await ListAsync("/v1/events?limit=1000", "events")).Where(static e => e["type"]!.GetValue<string>() is var type && (type == "token.created" || type.StartsWith("node.", StringComparison.Ordinal))).ToList();
        var first = _receiver.Copies.GroupBy(static c => c.Id).ToDictionary(static g => g.Key, static g => g.Select(static c => c.At).Order().ToArray());
        var stored = events.Select(IdOf).ToHashSet();
        Assert.DoesNotContain(stored, id => !first.ContainsKey(id));

        // Operators' events go out before their row is written, and that before what they tell of is done (decision 0007): a death there leaves a message of what did not come about, and nobody was answered.
        foreach (var early in _receiver.All.Where(t => !stored.Contains(t.Id)))
        {
            Assert.Equal("token.created", early.Type);
            Assert.DoesNotContain(made, m => m.Value && early.Detail.Contains($"'{m.Key}'", StringComparison.Ordinal));
        }

        Assert.Equal(0, _receiver.Refused); // whichever instance signed it
        foreach (var (name, _) in made.Where(static m => m.Value))
            Assert.Contains(_receiver.All, t => t.Detail.Contains($"'{name}'", StringComparison.Ordinal));

        var twice = first.Where(static f => f.Value.Length > 1).ToArray();
        foreach (var (id, times) in twice)
        {
            foreach (var (one, next) in times.Zip(times.Skip(1)))
                Assert.True(deaths.Any(d => d > one.AddSeconds(-1) && d < next), $"{id} came at {one:O} and at {next:O}, and nobody had died: {string.Join(' ', deaths.Select(static d => d.ToString("O", CultureInfo.InvariantCulture)))}");
        }

        // What happened to a node comes in its order.
        foreach (var node in events.GroupBy(static e => e["subject"]!.GetValue<string>()).Where(static g => g.Key.StartsWith("node-", StringComparison.Ordinal)))
        {
            var order = node.OrderBy(e => first[IdOf(e)][0]).Select(static e => e["at"]!.GetValue<DateTimeOffset>()).ToArray();
            Assert.Equal(order.Order(), order);
        }

        return (first.Count, twice.Length);
    }

    private async Task<int> CheckSilenceAsync()
    {
        foreach (var agent in _agents[Attesting..])
        {
            var events = (await ListAsync($"/v1/nodes/{agent.Id}/events?limit=1000", "events")).Select(static e => e["type"]!.GetValue<string>()).ToList();
            Assert.Single(events, "node.late");
            Assert.Single(events, "node.silent");
            Assert.Single(_receiver.All, t => t.Subject == agent.Id && t.Type == "node.silent");
        }

        return _agents.Count - Attesting;
    }

    private (int Runs, int Terms) CheckTimers()
    {
        var runs = 0;
        foreach (var timer in (string[])["sweep", "deliveries"])
        {
            var all = Runs(timer).OrderBy(static r => r.Begin).ToArray();
            foreach (var (one, next) in all.Zip(all.Skip(1)))
                Assert.True(one.End <= next.Begin, $"{timer}: a run of {one.Who} from {one.Begin:O} to {one.End:O}, and one of {next.Who} from {next.Begin:O}");
            runs += all.Length;
        }

        var terms = Terms().OrderBy(static t => t.Begin).ToArray();
        foreach (var (one, next) in terms.Zip(terms.Skip(1)))
            Assert.True(one.End <= next.Begin, $"{one.Who} leads from {one.Begin:O} to {one.End:O}, and {next.Who} from {next.Begin:O}");
        Assert.True(terms.Length > 1, "Nobody followed anybody.");
        return (runs, terms.Length);
    }

    // As docs/webhooks.md says what webhook-id is made of.
    private static string IdOf(JsonNode happened) =>
        "evt_" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{happened["subject"]}\0{happened["id"]}")).AsSpan(0, 16));
}

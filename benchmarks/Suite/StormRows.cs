using Keylime.Benchmarks.Load;
using Keylime.Protocol.Api;

namespace Keylime.Benchmarks.Suite;

/// <summary>What happens when many machines reboot at once.</summary>
internal static class StormRows
{
    private const int Machines = 200;
    private const int Lines = 20_000;
    private const int Interval = 3; // silence would be after five of them, which is less than the storm lasts

    public static async Task<IReadOnlyList<Row>> MeasureAsync(CancellationToken cancel)
    {
        var storm = await Storm.RunAsync(Machines, Lines, Interval, Machines, null, cancel);
        var what = $"storm of {Machines} whole lists of {Lines:N0} lines";
        return
        [
            new($"{what}, all judged", "s", [storm.Recovery.TotalSeconds], MoreIsBetter: false) { Note = $"{storm.LinesPerSecond:N0} lines a second, over TLS, on all cores, beside this program; {storm.TurnedAway} requests were turned away, {storm.Cut} got no answer, one machine came {storm.MostTries} times" },
            new($"{what}, memory", "MB", [storm.Peak / 1e6], MoreIsBetter: false) { Note = $"the service's peak; {storm.Calm / 1e6:N0} MB before" },
            new($"{what}, small requests meanwhile, 99 %", "ms", [Storm.Part(storm.Bystander, 0.99)], MoreIsBetter: false),
            new($"{what}, called silent or failed", "", [storm.States.GetValueOrDefault(NodeState.Silent) + storm.States.GetValueOrDefault(NodeState.Failed)], MoreIsBetter: false) { Budget = 0, Note = $"{storm.States.GetValueOrDefault(NodeState.Late)} were late at worst" },
        ];
    }
}

using System.Collections.Concurrent;

namespace Keylime.Benchmarks.Load;

/// <summary>What became of a run, without its warming up.</summary>
internal sealed record LoopResult
{
    public required TimeSpan Length { get; init; }

    /// <summary>Attestations that were due.</summary>
    public required int Due { get; init; }

    /// <summary>Attestations that passed within the time.</summary>
    public required int Passed { get; init; }

    /// <summary>Milliseconds from when each attestation that was due in the time was due to its verdict, sorted; of one that had none at the end, to the end.</summary>
    public required double[] Latencies { get; init; }

    /// <summary>Of those that were due, those that had no verdict at the end.</summary>
    public required int Unanswered { get; init; }

    /// <summary>Ends other than a pass, how often each, and what was said first.</summary>
    public required IReadOnlyDictionary<AttestEnd, (int Count, string First)> Others { get; init; }

    /// <param name="part">0.5 for the median.</param>
    public double Percentile(double part) => Latencies.Length == 0 ? double.NaN : Latencies[Math.Min(Latencies.Length - 1, (int)Math.Ceiling(part * Latencies.Length) - 1)];
}

/// <summary>
/// Attestations by a timetable that knows nothing of answers: when one is late, the next ones are due all the same, and each one's time counts from when it was due. What a slow service
/// does to those who wait so cannot hide. A node does one at a time, and never before the service wants it.
/// </summary>
/// <param name="newLines">Of its list, that a node has measured when an attestation is due.</param>
/// <param name="first">The number of the first attestation; they go round the nodes.</param>
internal sealed class OpenLoop(IReadOnlyList<LoadNode> nodes, LoadClient client, LoadEnrolment enrolment, double perSecond, int newLines, long first)
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200); // where the service names no other

    private readonly TimeProvider _clock = TimeProvider.System;
    private readonly ConcurrentQueue<double> _latencies = new();
    private readonly ConcurrentDictionary<AttestEnd, (int Count, string First)> _others = new();
    private int _passed;
    private long _from; // the time that counts
    private long _to;

    /// <summary>The number of the next attestation that would be due.</summary>
    public long Next { get; private set; } = first;

    /// <param name="started">Called when the time that counts begins.</param>
    /// <param name="ended">Called when it is over, before the last answers are waited for.</param>
    public async Task<LoopResult> RunAsync(TimeSpan warm, TimeSpan length, Action started, Action ended, CancellationToken cancel)
    {
        var start = _clock.GetTimestamp();
        var begun = false;
        var (slots, due) = (0L, 0);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var running = new ConcurrentDictionary<Task, bool>();
        while (_clock.GetElapsedTime(start) < warm + length)
        {
            var elapsed = _clock.GetElapsedTime(start);
            if (!begun && elapsed >= warm)
            {
                begun = true;
                Volatile.Write(ref _from, _clock.GetTimestamp());
                started();
            }

            for (; slots <= elapsed.TotalSeconds * perSecond; slots++)
            {
                var at = start + (long)(slots / perSecond * _clock.TimestampFrequency);
                var counts = begun && at >= _from;
                due += counts ? 1 : 0;
                var node = nodes[(int)(Next++ % nodes.Count)];
                var task = Task.Run(() => DoAsync(node, at, counts, stop.Token), CancellationToken.None);
                running[task] = true;
                _ = task.ContinueWith(t => running.TryRemove(t, out _), TaskScheduler.Default);
            }

            await Task.Delay(Step, cancel);
        }

        Volatile.Write(ref _to, _clock.GetTimestamp());
        var passed = Volatile.Read(ref _passed);
        ended();
        var answered = _latencies.Count;
        await stop.CancelAsync();
        await Task.WhenAll(running.Keys);
        return new LoopResult
        {
            Length = _clock.GetElapsedTime(_from, _to),
            Due = due,
            Passed = passed,
            Unanswered = due - answered,
            Latencies = [.. _latencies.Order()],
            Others = _others.ToDictionary(),
        };
    }

    private async Task DoAsync(LoadNode node, long due, bool counts, CancellationToken cancel)
    {
        try
        {
            await node.Turn.WaitAsync(cancel);
            try
            {
                node.Measure(newLines);
                while (!await TryAsync(node, due, counts, cancel))
                {
                }
            }
            finally
            {
                node.Turn.Release();
            }
        }
        catch (OperationCanceledException)
        {
            if (counts)
                _latencies.Enqueue(_clock.GetElapsedTime(due, _to).TotalMilliseconds);
        }
    }

    private async Task<bool> TryAsync(LoadNode node, long due, bool counts, CancellationToken cancel)
    {
        var early = _clock.GetElapsedTime(_clock.GetTimestamp(), node.NotBefore);
        if (early > TimeSpan.Zero)
            await Task.Delay(early, cancel);

        var outcome = await node.AttestAsync(client, cancel);
        if (outcome.End == AttestEnd.Passed)
        {
            // Agents sleep for what the answer says; the service takes them a tenth of the interval earlier, and so the timetable may be a little ahead of it.
            node.NotBefore = _clock.GetTimestamp() + (long)(0.9 * outcome.Wait.TotalSeconds * _clock.TimestampFrequency);
            if (Volatile.Read(ref _from) != 0 && Volatile.Read(ref _to) == 0)
                Interlocked.Increment(ref _passed);
            if (counts)
                _latencies.Enqueue(_clock.GetElapsedTime(due).TotalMilliseconds);
            return true;
        }

        _others.AddOrUpdate(outcome.End, (1, outcome.Why), static (_, old) => (old.Count + 1, old.First));
        if (outcome.End == AttestEnd.NoSession)
            await enrolment.OpenSessionAsync(node, cancel);
        else
            await Task.Delay(outcome.Wait > TimeSpan.Zero ? outcome.Wait : Pause, cancel);
        return false;
    }
}

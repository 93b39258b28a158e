using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;

namespace Keylime.Functions.Verifier;

/// <summary>
/// That the service is there, in a row that outlives it. Where the row is older than this process, nobody could hear the nodes in between, and where the
/// clock jumped, that time was none: whoever asks for a state must know (<see cref="NowAsync"/>), before the next sweep has written it down.
/// </summary>
internal sealed class Heartbeat(IRecordStore<TimerState> timers, TimeProvider clock, ServiceOptions options)
{
    public const string Name = "sweep";

    private const int MaxTries = 10;
    private const int MaxGaps = 256; // what is older than so many shifts nothing any more

    // The moment that this process knows of that it was there: its start, then each of its own sweeps. By the clock that nobody sets.
    private long _anchor = clock.GetTimestamp();
    private Known? _known;

    /// <summary>From one sweep to the next: our own timer's, or the host's (infrastructure as code sets it to a minute).</summary>
    public TimeSpan Interval { get; } = options.HandlerPort is null ? TimeSpan.FromSeconds(15) : TimeSpan.FromMinutes(1);

    /// <summary>The row as this process last read it, and when; <see langword="null"/> before it has.</summary>
    public (TimerState? State, DateTimeOffset ReadAt)? LastRead => Volatile.Read(ref _known) is { } known ? (known.State, known.ReadAt) : null;

    /// <summary>What is shorter is no gap: where a lease says who sweeps, so long may nobody, and others were there for the nodes.</summary>
    public TimeSpan Tolerance => options.LeadsByLease ? 2 * Interval + LeaseLeader.Length + LeaseLeader.Look : 2 * Interval;

    /// <summary>Now, with all gaps that are known, and the one that is open.</summary>
    public async ValueTask<Moment> NowAsync(CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        if (Volatile.Read(ref _known) is not { } known || now - known.ReadAt > Interval || now < known.ReadAt)
            known = Keep((await ReadAsync(cancel)).Row?.Value, now);
        return MomentOf(known.State, now);
    }

    /// <summary>At the start of a sweep: writes a gap down, where there is one.</summary>
    /// <returns>The row; <see langword="null"/> where it cannot be read, and so not be written either.</returns>
    public async Task<TimerState?> BeginAsync(CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var (now, stamp) = (clock.GetUtcNow(), clock.GetTimestamp()); // of one moment: what goes by until the row is written is no absence
            var (row, readable) = await ReadAsync(cancel);
            if (!readable)
                return null;
            if (row is null)
            {
                if (await timers.TryAddAsync(new TimerState { Name = Name, At = now }, cancel))
                    return Keep(new TimerState { Name = Name, At = now }, now).State;
                continue;
            }

            if (GapOf(row.Value, now) is not { } gap)
                return Keep(row.Value, now).State;
            var next = row.Value with { At = now, Gaps = [.. row.Value.Gaps.TakeLast(MaxGaps - 1), gap] };
            if (await timers.TryReplaceAsync(row, next, cancel))
            {
                Interlocked.Exchange(ref _anchor, stamp);
                return Keep(next, now).State;
            }
        }

        throw new StorageUnavailableException($"The heartbeat of the service changed {MaxTries} times while it was to be written.");
    }

    /// <summary>In a long sweep, and at its end.</summary>
    /// <param name="toldTo">At its end: see <see cref="TimerState.ToldTo"/>.</param>
    public async Task BeatAsync(DateTimeOffset? toldTo, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var (now, stamp) = (clock.GetUtcNow(), clock.GetTimestamp()); // of one moment: what goes by until the row is written is no absence
            if ((await ReadAsync(cancel)).Row is not { Value: var state } row)
                return;
            var next = state with
            {
                At = Later(state.At, now),
                // Back with the clock, where that was set back.
                ToldTo = toldTo is not { } told ? state.ToldTo : state.ToldTo > now + Tolerance ? told : Later(state.ToldTo, told),
            };
            if (await timers.TryReplaceAsync(row, next, cancel))
            {
                Interlocked.Exchange(ref _anchor, stamp);
                Keep(next, now);
                return;
            }
        }

        // Others sweep too: what they write is no less true.
    }

    /// <summary>A moment with the gaps of the row.</summary>
    public Moment MomentOf(TimerState? state, DateTimeOffset now) => state switch
    {
        null => Moment.Of(now),
        _ when GapOf(state, now) is { Down: true } open => new Moment(now, [.. state.Gaps, open]),
        _ => new Moment(now, state.Gaps),
    };

    private Gap? GapOf(TimerState state, DateTimeOffset now)
    {
        var there = now - clock.GetElapsedTime(Interlocked.Read(ref _anchor));
        if (state.At - now > Tolerance)
            return new Gap(state.At, now, Down: false);
        if (there - state.At > Tolerance)
            return new Gap(state.At, there, Down: true);
        return now - state.At > Tolerance ? new Gap(state.At, now, Down: false) : null;
    }

    // A row that nobody can read says nothing; it is reported, and keeps nobody from attesting.
    private async Task<(Stored<TimerState>? Row, bool Readable)> ReadAsync(CancellationToken cancel)
    {
        try
        {
            return (await timers.FindAsync(Name, cancel), true);
        }
        catch (UnreadableRowException)
        {
            return (null, false);
        }
    }

    private Known Keep(TimerState? state, DateTimeOffset now)
    {
        var known = new Known(state, now);
        Volatile.Write(ref _known, known);
        return known;
    }

    private static DateTimeOffset Later(DateTimeOffset one, DateTimeOffset other) => one > other ? one : other;

    private sealed record Known(TimerState? State, DateTimeOffset ReadAt);
}

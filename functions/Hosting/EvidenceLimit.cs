using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Threading.RateLimiting;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary>
/// How much evidence is in memory at a time, over all requests. Where a whole fleet reboots, each machine sends megabytes: some are taken in, some wait with nothing read of them, and the others
/// are told when to come again. Each is given a time of its own, one behind the other, by how fast evidence is judged now; so those who come again find room, and nobody asks in vain again and again.
/// Small evidence, as a machine sends it all day, has room of its own, and never waits for a long list.
/// </summary>
internal sealed class EvidenceLimit : IDisposable
{
    /// <summary>Bytes up to which evidence is small.</summary>
    public const int Small = 64 * 1024;

    private const int Unit = 1024; // bytes that a permit is for
    private const double FirstRate = 8e6; // bytes a second, until more is known
    private const double Weight = 0.2; // of the newest measurement
    private const double LeastRate = 64e3; // what is slower is a stall, and no rate
    private static readonly TimeSpan BetweenMeasurements = TimeSpan.FromSeconds(0.5);
    private static readonly TimeSpan LongestWait = TimeSpan.FromMinutes(5);

    private readonly TimeProvider _clock;
    private readonly int _permits;
    private readonly ConcurrencyLimiter _large;
    private readonly ConcurrencyLimiter _small;
    private readonly ConcurrentDictionary<AgentId, bool> _sending = new();
    private readonly Lock _lock = new();
    private double _rate = FirstRate;
    private long _done; // bytes since the last measurement
    private long _measured;
    private DateTimeOffset _taken; // until then, times to come again are given away

    public EvidenceLimit(ServiceOptions options, TimeProvider clock)
        : this(options.EvidenceMemory * 1024L * 1024, clock)
    {
    }

    /// <param name="bytes">Of evidence that is taken in at a time; as much may wait.</param>
    public EvidenceLimit(long bytes, TimeProvider clock)
    {
        (_clock, _permits, _measured) = (clock, checked((int)Math.Max(1, bytes / Unit)), clock.GetTimestamp());
        ConcurrencyLimiter Lane() => new(new ConcurrencyLimiterOptions { PermitLimit = _permits, QueueLimit = _permits, QueueProcessingOrder = QueueProcessingOrder.OldestFirst });
        (_large, _small) = (Lane(), Lane());
    }

    /// <summary>Whether large evidence is here, of whoever.</summary>
    public bool IsBusy => !_sending.IsEmpty;

    /// <summary>Waits for room, if not too many do already.</summary>
    /// <param name="length">Of the body, and of what a compressed list in it inflates to, in bytes; who does not say is taken for the longest.</param>
    /// <returns>What keeps the room until it is disposed of; <see langword="null"/> where there is none.</returns>
    public async ValueTask<Room?> EnterAsync(AgentId id, long? length, CancellationToken cancel)
    {
        var permits = (int)Math.Min(_permits, ((length ?? long.MaxValue - Unit) + Unit - 1) / Unit);
        if (length <= Small)
            return await _small.AcquireAsync(permits, cancel) is { IsAcquired: true } little ? new Room(this, little, null, 0) : null;

        // One machine sends one list at a time: nobody fills the room alone.
        if (!_sending.TryAdd(id, true))
            return null;
        var entered = false;
        try
        {
            var lease = await _large.AcquireAsync(permits, cancel);
            entered = lease.IsAcquired;
            return entered ? new Room(this, lease, id, permits * (long)Unit) : null;
        }
        finally
        {
            if (!entered)
                _sending.TryRemove(id, out _);
        }
    }

    /// <summary>When somebody who found no room is to come again: behind all those who were told so before.</summary>
    public TimeSpan WhenAgain(long? length)
    {
        lock (_lock)
        {
            var now = _clock.GetUtcNow();
            // What waits is judged first.
            var ahead = TimeSpan.FromSeconds((_large.GetStatistics()?.CurrentQueuedCount ?? 0) * (double)Unit / _rate);
            var free = _taken > now + ahead ? _taken : now + ahead;
            _taken = free + TimeSpan.FromSeconds(Math.Min(length ?? long.MaxValue, _permits * (long)Unit) / _rate);
            if (_taken > now + LongestWait)
                _taken = now + LongestWait;
            // A tenth more or less, so that those who were told the same whole second do not come in the same moment.
            var wait = (_taken - now) * (0.9 + 0.2 * RandomNumberGenerator.GetInt32(1000) / 1000);
            return wait > TimeSpan.FromSeconds(1) ? wait : TimeSpan.FromSeconds(1);
        }
    }

    public void Dispose()
    {
        _large.Dispose();
        _small.Dispose();
    }

    private void Leave(AgentId? id, long bytes)
    {
        if (id is not { } sender)
            return;
        _sending.TryRemove(sender, out _);
        lock (_lock)
        {
            _done += bytes;
            var now = _clock.GetTimestamp();
            var elapsed = _clock.GetElapsedTime(_measured, now);
            if (elapsed < BetweenMeasurements)
                return;
            // Where nobody waits the rate is that at which evidence comes, and says nothing of how fast it could be judged.
            if (_large.GetStatistics()?.CurrentQueuedCount > 0)
                _rate = Math.Max(LeastRate, (1 - Weight) * _rate + Weight * (_done / elapsed.TotalSeconds));
            (_done, _measured) = (0, now);
        }
    }

    /// <summary>Room for the evidence of one request.</summary>
    [SuppressMessage("Design", "CA1034:Nested types should not be visible", Justification = "Internal, and nothing without its limit.")]
    internal sealed class Room(EvidenceLimit limit, RateLimitLease lease, AgentId? id, long bytes) : IDisposable
    {
        public void Dispose()
        {
            limit.Leave(id, bytes);
            lease.Dispose();
        }
    }
}

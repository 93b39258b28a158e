using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>A clock that somebody sets: what has passed is another matter, and timers do not notice.</summary>
internal sealed class SteppedClock(DateTimeOffset start) : FakeTimeProvider(start)
{
    private TimeSpan _off;

    public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + _off;

    public override long GetTimestamp() => base.GetUtcNow().UtcTicks; // the base asks GetUtcNow

    public void Step(TimeSpan by) => _off += by;
}

namespace Keylime.Functions.Storage;

/// <summary>A moment, and what of the time before it does not count as silence of nodes: the service was not there to hear them.</summary>
internal sealed record Moment(DateTimeOffset Now, IReadOnlyList<Gap> Gaps)
{
    /// <summary>With a service that was always there.</summary>
    public static Moment Of(DateTimeOffset now) => new(now, []);
}

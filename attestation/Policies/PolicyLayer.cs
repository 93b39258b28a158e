namespace Keylime.Attestation;

/// <summary>A runtime policy that is one of several: what any of them that has not run out allows is allowed.</summary>
/// <param name="Name">For findings.</param>
/// <param name="Until">From then on it allows nothing, and what it alone knows is stale; <see langword="null"/> for ever.</param>
public sealed record PolicyLayer(string Name, RuntimePolicy Policy, DateTimeOffset? Until);

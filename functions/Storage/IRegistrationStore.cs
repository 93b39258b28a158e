using Keylime.Protocol;

namespace Keylime.Functions.Storage;

/// <summary>The TPMs that registered, activated or not.</summary>
internal interface IRegistrationStore
{
    Task<Stored<Registration>?> FindAsync(AgentId id, CancellationToken cancel);

    /// <returns><see langword="false"/> if the id is taken.</returns>
    Task<bool> TryAddAsync(Registration registration, CancellationToken cancel);

    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TryReplaceAsync(Stored<Registration> read, Registration next, CancellationToken cancel);

    /// <returns><see langword="false"/> if it has changed or gone since it was read.</returns>
    Task<bool> TryDeleteAsync(Stored<Registration> read, CancellationToken cancel);

    /// <summary>Ids in their order, of activated and other records.</summary>
    Task<Page<AgentId>> ListAsync(Continuation? after, int limit, CancellationToken cancel);
}

using Keylime.Functions.Storage;
using Keylime.Protocol;

namespace Keylime.Functions.Registrar;

/// <summary>
/// Whose an endorsement key is. Of two ids with one TPM, one gets it; whoever has neither an active registration of it any more nor a node that was
/// admitted with it has lost it.
/// </summary>
internal sealed class EndorsementClaims(IRecordStore<EndorsementOwner> owners, IRecordStore<Registration> registrations, INodeStore nodes, TimeProvider clock)
{
    private const int MaxTries = 5;

    /// <returns>Another id that holds the key; <see langword="null"/> where none does.</returns>
    public async Task<AgentId?> FindRivalAsync(Registration registration, CancellationToken cancel) =>
        await owners.FindAsync(KeyOf(registration), cancel) is { Value.Agent: var owner } && owner != registration.Id && await HoldsAsync(owner, registration.EndorsementKeyHash, cancel) ? owner : null;

    /// <summary>Takes the key for this registration.</summary>
    /// <returns>Who holds it instead; <see langword="null"/> where it is this one's now.</returns>
    public async Task<AgentId?> ClaimAsync(Registration registration, CancellationToken cancel)
    {
        var claim = new EndorsementOwner { EndorsementKeyHash = KeyOf(registration), Agent = registration.Id, ClaimedAt = clock.GetUtcNow() };
        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await owners.FindAsync(claim.EndorsementKeyHash, cancel) is not { } owner)
            {
                if (await owners.TryAddAsync(claim, cancel))
                    return null;
                continue;
            }

            if (owner.Value.Agent == registration.Id)
                return null;
            if (await HoldsAsync(owner.Value.Agent, registration.EndorsementKeyHash, cancel))
                return owner.Value.Agent;
            if (await owners.TryReplaceAsync(owner, claim, cancel))
                return null;
        }

        throw new StorageUnavailableException($"The owner of an endorsement key changed {MaxTries} times while it was to be written.");
    }

    /// <summary>Gives the key back, unless a node lives by it. Not to do it loses nothing: a claim that nobody holds is none.</summary>
    public async Task ReleaseAsync(Registration registration, CancellationToken cancel)
    {
        if (!await HoldsAsync(registration.Id, registration.EndorsementKeyHash, cancel) && await owners.FindAsync(KeyOf(registration), cancel) is { } owner && owner.Value.Agent == registration.Id)
            await owners.TryDeleteAsync(owner, cancel);
    }

    // The registration may be forgotten, and the id another TPM's by now.
    private async Task<bool> HoldsAsync(AgentId agent, ReadOnlyMemory<byte> key, CancellationToken cancel) =>
        await registrations.FindAsync(agent.ToString(), cancel) is { Value: { Active: true, EndorsementKeyHash: var registered } } && registered.Span.SequenceEqual(key.Span)
        || await nodes.FindAsync(agent, cancel) is { Value: { RetiredAt: null, Waiting: null, EndorsementKeyHash: var pinned } } && pinned.Span.SequenceEqual(key.Span);

    private static string KeyOf(Registration registration) => Convert.ToHexStringLower(registration.EndorsementKeyHash.Span);
}

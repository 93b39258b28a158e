namespace Keylime.Functions.Storage;

/// <summary>
/// Work to do later: messages, each handed to one at a time, not before its time, and again until somebody says that it is done. It may come twice, and in any order; after a disaster
/// it may not come at all, so what must not be lost is in a row.
/// </summary>
internal interface IWorkQueue
{
    /// <summary>The most bytes of a message.</summary>
    const int MaxMessage = 32 * 1024;

    /// <param name="delay">Before that nobody gets it; a week at most.</param>
    Task PutAsync(ReadOnlyMemory<byte> message, TimeSpan delay, CancellationToken cancel);

    /// <summary>Takes what is there, and hides it from everybody else for a while.</summary>
    /// <param name="most">1 to 32.</param>
    Task<IReadOnlyList<WorkItem>> TakeAsync(int most, TimeSpan hidden, CancellationToken cancel);

    /// <summary>Hides what was taken for another while, from now on; <see cref="TimeSpan.Zero"/> gives it back.</summary>
    /// <returns>The item as it is held now; <see langword="null"/> if somebody else has taken it or finished it.</returns>
    Task<WorkItem?> TryHideAsync(WorkItem item, TimeSpan hidden, CancellationToken cancel);

    /// <summary>It is done, and never comes again.</summary>
    /// <returns><see langword="false"/> if somebody else has taken it or finished it.</returns>
    Task<bool> TryFinishAsync(WorkItem item, CancellationToken cancel);
}

/// <summary>A message that was taken.</summary>
/// <param name="Receipt">Proves that it is held by whoever took it last.</param>
/// <param name="Taken">How often it was taken, this time included.</param>
internal sealed record WorkItem(string Id, string Receipt, ReadOnlyMemory<byte> Message, int Taken);

/// <summary>The two queues of deliveries.</summary>
/// <param name="Work">Channels to look at.</param>
/// <param name="Poison">What failed too often there.</param>
internal sealed record DeliveryQueues(IWorkQueue Work, IWorkQueue Poison);

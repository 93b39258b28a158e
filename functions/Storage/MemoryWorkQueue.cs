namespace Keylime.Functions.Storage;

/// <summary>Work to do later, in this process: of the embedded default, where nobody else would do it, and where the outbox is looked at after each start.</summary>
internal sealed class MemoryWorkQueue(TimeProvider clock) : IWorkQueue
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, Waiting> _all = [];
    private long _next;

    public Task PutAsync(ReadOnlyMemory<byte> message, TimeSpan delay, CancellationToken cancel)
    {
        lock (_lock)
        {
            var number = _next++;
            var id = $"{number:x16}";
            _all.Add(id, new Waiting(number, clock.GetUtcNow() + delay, new WorkItem(id, "", message.ToArray(), 0)));
        }

        return Task.CompletedTask;
    }

    public Task<IReadOnlyList<WorkItem>> TakeAsync(int most, TimeSpan hidden, CancellationToken cancel)
    {
        lock (_lock)
        {
            var now = clock.GetUtcNow();
            WorkItem[] taken = [.. _all.Values.Where(w => w.VisibleAt <= now).OrderBy(static w => w.Number).Take(most)
                .Select(static w => w.Item with { Receipt = $"{Guid.NewGuid():N}", Taken = w.Item.Taken + 1 })];
            foreach (var item in taken)
                _all[item.Id] = _all[item.Id] with { VisibleAt = now + hidden, Item = item };
            return Task.FromResult<IReadOnlyList<WorkItem>>(taken);
        }
    }

    public Task<WorkItem?> TryHideAsync(WorkItem item, TimeSpan hidden, CancellationToken cancel)
    {
        lock (_lock)
        {
            if (!IsHeld(item))
                return Task.FromResult<WorkItem?>(null);
            var held = item with { Receipt = $"{Guid.NewGuid():N}" };
            _all[item.Id] = _all[item.Id] with { VisibleAt = clock.GetUtcNow() + hidden, Item = held };
            return Task.FromResult<WorkItem?>(held);
        }
    }

    public Task<bool> TryFinishAsync(WorkItem item, CancellationToken cancel)
    {
        lock (_lock)
            return Task.FromResult(IsHeld(item) && _all.Remove(item.Id));
    }

    private bool IsHeld(WorkItem item) => _all.TryGetValue(item.Id, out var there) && there.Item.Receipt == item.Receipt;

    private sealed record Waiting(long Number, DateTimeOffset VisibleAt, WorkItem Item);
}

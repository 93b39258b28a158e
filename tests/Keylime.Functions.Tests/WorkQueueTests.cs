using Azure.Storage.Queues;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;

namespace Keylime.Functions.Tests;

/// <summary>What every queue of work to do later must do, whatever it is built on. Times are real: nobody sets the clock of a storage account.</summary>
public abstract class WorkQueueContract
{
    private static readonly TimeSpan Short = TimeSpan.FromSeconds(1); // the least that a storage account knows
    private static readonly TimeSpan Long = TimeSpan.FromMinutes(5);

    private protected abstract IWorkQueue Queue { get; }

    private protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_was_put_is_handed_to_one_at_a_time_and_never_again_once_it_is_done()
    {
        byte[][] messages = [[0, 1, 0xFF], "{}"u8.ToArray(), System.Security.Cryptography.RandomNumberGenerator.GetBytes(4000)];
        foreach (var message in messages)
            await Queue.PutAsync(message, TimeSpan.Zero, Cancel);
        var both = await Task.WhenAll(Queue.TakeAsync(2, Long, Cancel), Queue.TakeAsync(2, Long, Cancel));
        var taken = both.SelectMany(static t => t).ToArray();
        Assert.All(both, static t => Assert.InRange(t.Count, 1, 2));
        Assert.Equal(messages.Select(Convert.ToHexString).Order(), taken.Select(static t => Convert.ToHexString(t.Message.Span)).Order());
        Assert.All(taken, static t => Assert.Equal(1, t.Taken));
        Assert.Empty(await Queue.TakeAsync(32, Long, Cancel));
        foreach (var item in taken)
            Assert.True(await Queue.TryFinishAsync(item, Cancel));
        Assert.False(await Queue.TryFinishAsync(taken[0], Cancel));
        Assert.Null(await Queue.TryHideAsync(taken[0], Short, Cancel));
        await Task.Delay(Short * 1.5, Cancel);
        Assert.Empty(await Queue.TakeAsync(32, Long, Cancel));
    }

    [Fact]
    public async Task What_nobody_finishes_comes_again_and_is_no_longer_the_first_ones()
    {
        await Queue.PutAsync("m"u8.ToArray(), TimeSpan.Zero, Cancel);
        var first = Assert.Single(await Queue.TakeAsync(32, Short, Cancel)); // and dies with it
        var second = await TakeAsync();
        Assert.Equal((first.Id, 2), (second.Id, second.Taken));
        Assert.Null(await Queue.TryHideAsync(first, Short, Cancel));
        Assert.False(await Queue.TryFinishAsync(first, Cancel));
        Assert.True(await Queue.TryFinishAsync(second, Cancel));
    }

    [Fact]
    public async Task Who_needs_longer_holds_it_longer_and_who_gives_it_back_lets_it_come_at_once()
    {
        await Queue.PutAsync("m"u8.ToArray(), TimeSpan.Zero, Cancel);
        var item = Assert.Single(await Queue.TakeAsync(1, Short, Cancel));
        item = (await Queue.TryHideAsync(item, Long, Cancel))!;
        await Task.Delay(Short * 1.5, Cancel);
        Assert.Empty(await Queue.TakeAsync(1, Long, Cancel));
        item = (await Queue.TryHideAsync(item, TimeSpan.Zero, Cancel))!;
        Assert.Equal(item.Id, (await TakeAsync()).Id);
    }

    [Fact]
    public async Task What_is_for_later_does_not_come_sooner()
    {
        await Queue.PutAsync("later"u8.ToArray(), 2 * Short, Cancel);
        await Queue.PutAsync("now"u8.ToArray(), TimeSpan.Zero, Cancel);
        Assert.Equal("now"u8.ToArray(), Assert.Single(await Queue.TakeAsync(32, Long, Cancel)).Message.ToArray());
        Assert.Equal("later"u8.ToArray(), (await TakeAsync()).Message.ToArray());
    }

    private async Task<WorkItem> TakeAsync()
    {
        for (var tries = 0; tries < 100; tries++)
        {
            if (await Queue.TakeAsync(32, Long, Cancel) is [var item])
                return item;
            await Task.Delay(100, Cancel);
        }

        throw new InvalidOperationException("It did not come.");
    }
}

/// <summary>The contract in this process.</summary>
public sealed class MemoryWorkQueueTests : WorkQueueContract
{
    private protected override IWorkQueue Queue { get; } = new MemoryWorkQueue(TimeProvider.System);
}

/// <summary>The contract on a queue of a really started emulator; and what only that can get wrong.</summary>
public sealed class AzureWorkQueueTests(AzuriteFixture fixture) : WorkQueueContract, IAsyncLifetime
{
    private QueueClient _client = null!; // InitializeAsync

    private protected override IWorkQueue Queue => new AzureWorkQueue(_client);

    public async ValueTask InitializeAsync() => _client = (await fixture.NewAccountsAsync(1)).All[0].Queues.GetQueueClient(AzureAccounts.Work);

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    [Fact]
    public async Task Messages_are_Base64_in_it_and_what_is_not_comes_as_it_is()
    {
        await Queue.PutAsync("""{"version":1}"""u8.ToArray(), TimeSpan.Zero, Cancel);
        var raw = Assert.Single((await _client.ReceiveMessagesAsync(32, TimeSpan.FromMinutes(5), Cancel)).Value);
        Assert.Equal("""{"version":1}"""u8.ToArray(), Convert.FromBase64String(raw.MessageText));
        await _client.SendMessageAsync("no Base64 {", Cancel);
        Assert.Equal("no Base64 {"u8.ToArray(), Assert.Single(await Queue.TakeAsync(32, TimeSpan.FromMinutes(5), Cancel)).Message.ToArray());
    }

    [Fact]
    public async Task A_queue_that_is_not_there_is_told_as_such()
    {
        await _client.DeleteAsync(Cancel);
        await Assert.ThrowsAsync<StorageUnavailableException>(() => Queue.PutAsync("m"u8.ToArray(), TimeSpan.Zero, Cancel));
        await Assert.ThrowsAsync<StorageUnavailableException>(() => Queue.TakeAsync(1, TimeSpan.FromSeconds(1), Cancel));
    }
}

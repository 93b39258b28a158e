using Azure.Storage.Blobs.Specialized;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage.Azure;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>One of several instances runs the timers: by the lease of a blob of a really started emulator.</summary>
public sealed class LeaseLeaderTests(AzuriteFixture fixture)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task One_leads_and_another_follows_who_loses_it()
    {
        var accounts = await fixture.NewAccountsAsync(2);
        using var one = Make(accounts);
        using var two = Make(accounts);
        await Task.WhenAll(one.TryAsync(Cancel), two.TryAsync(Cancel));
        var (leader, other) = one.Term is null ? (two, one) : (one, two);
        Assert.Null(other.Term);
        var term = leader.Term!.Value;
        await leader.TryAsync(Cancel); // renewed
        await other.TryAsync(Cancel);
        Assert.False(term.IsCancellationRequested);
        Assert.Null(other.Term);

        await BlobOf(accounts).GetBlobLeaseClient().BreakAsync(TimeSpan.Zero, cancellationToken: Cancel); // as when it ends by itself
        await other.TryAsync(Cancel);
        Assert.NotNull(other.Term);
        await leader.TryAsync(Cancel);
        Assert.Null(leader.Term);
        Assert.True(term.IsCancellationRequested); // and with it what it was at
    }

    [Fact]
    public async Task Who_cannot_renew_stops_before_the_lease_ends_and_by_no_wall_clock()
    {
        var accounts = await fixture.NewAccountsAsync(1);
        var clock = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        using var leader = Make(accounts, clock);
        await leader.TryAsync(Cancel);
        var term = leader.Term!.Value;
        clock.Advance(LeaseLeader.Length - TimeSpan.FromSeconds(12));
        Assert.NotNull(leader.Term);
        clock.Advance(TimeSpan.FromSeconds(3)); // paused, or cut off
        Assert.Null(leader.Term);
        Assert.True(term.IsCancellationRequested);
        await leader.TryAsync(Cancel); // nobody else has taken it: the same lease is taken again
        Assert.NotNull(leader.Term);
    }

    [Fact]
    public async Task Who_ends_in_peace_gives_it_back()
    {
        var accounts = await fixture.NewAccountsAsync(1);
        using var first = Make(accounts);
        await first.StartAsync(Cancel);
        while (first.Term is null)
            await Task.Delay(20, Cancel);
        await first.StopAsync(Cancel);
        Assert.Null(first.Term);
        using var second = Make(accounts);
        await second.TryAsync(Cancel);
        Assert.NotNull(second.Term);
    }

    [Fact]
    public async Task A_timer_runs_while_its_process_leads_and_a_run_ends_with_the_lead()
    {
        var clock = new FakeTimeProvider();
        var leader = new Told();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var (runs, ended) = (0, new TaskCompletionSource());
        var timer = leader.RepeatAsync("test", TimeSpan.FromSeconds(1), clock, async cancel =>
        {
            if (Interlocked.Increment(ref runs) != 1)
                return;
            try
            {
                await Task.Delay(Timeout.InfiniteTimeSpan, cancel);
            }
            finally
            {
                ended.SetResult();
            }
        }, NullLogger.Instance, stop.Token);
        await TickAsync(3);
        Assert.Equal(0, runs);
        leader.Over = new CancellationTokenSource();
        await TickAsync(3);
        Assert.Equal(1, runs);
        await leader.Over.CancelAsync();
        await ended.Task;
        leader.Over = null;
        await TickAsync(3);
        Assert.Equal(1, runs);
        leader.Over = new CancellationTokenSource();
        await TickAsync(2);
        Assert.InRange(runs, 2, 3);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => timer);

        async Task TickAsync(int times)
        {
            for (var i = 0; i < times; i++)
            {
                clock.Advance(TimeSpan.FromSeconds(1));
                await Task.Delay(50, Cancel);
            }
        }
    }

    private static LeaseLeader Make(AzureAccounts accounts, TimeProvider? clock = null) => new(accounts, clock ?? TimeProvider.System, NullLogger<LeaseLeader>.Instance);

    private static BlockBlobClient BlobOf(AzureAccounts accounts) => accounts.All[0].Blobs.GetBlockBlobClient("timers-leader");

    private sealed class Told : ILeader
    {
        public CancellationTokenSource? Over { get; set; }

        public CancellationToken? Term => Over?.Token;
    }
}

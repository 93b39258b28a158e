using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Policies;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>Which policies stay ready, and who reads one that is not.</summary>
public sealed class RecentPoliciesTests
{
    private readonly FakeTimeProvider _clock = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Bytes_are_bounded_and_the_one_used_longest_ago_goes()
    {
        var recent = new RecentPolicies(new ServiceOptions { PolicyMemory = 100 }, _clock);
        Assert.Equal(["a", "b"], await ReadAsync(recent, ("a", 60), ("b", 40), ("a", 60)));
        Assert.Equal(100, recent.Held);
        Assert.Equal(["c"], await ReadAsync(recent, ("c", 40), ("a", 60))); // b went
        Assert.Equal(["b"], await ReadAsync(recent, ("b", 40)));
        Assert.InRange(recent.Held, 40, 100);
        Assert.Equal(["large"], await ReadAsync(recent, ("large", 1000), ("large", 1000))); // the newest stays, whatever its size
        Assert.Equal(1000, recent.Held);
        Assert.Equal(["a"], await ReadAsync(recent, ("a", 60)));
        Assert.Equal(60, recent.Held);
    }

    [Fact]
    public async Task What_others_are_made_of_goes_last()
    {
        var recent = new RecentPolicies(new ServiceOptions { PolicyMemory = 100 }, _clock);
        await ReadAsync(recent, ("base", 60), ("x", 20));
        Assert.NotNull(await recent.GetAsync("layered", () => Task.FromResult<KnownPolicy?>(Of(10) with { Parts = ["base"] }), Cancel));
        Assert.Equal(["y"], await ReadAsync(recent, ("y", 20), ("base", 60), ("layered", 0))); // x went: it was used after base, and base is part of what was used since
        Assert.Equal(["x"], await ReadAsync(recent, ("x", 20)));
    }

    [Fact]
    public async Task Of_many_who_want_one_a_single_one_reads_it()
    {
        var recent = new RecentPolicies(new ServiceOptions(), _clock);
        var (reads, gate) = (0, new TaskCompletionSource());
        async Task<KnownPolicy?> Read()
        {
            Interlocked.Increment(ref reads);
            await gate.Task;
            return Of(1);
        }

        using var impatient = new CancellationTokenSource();
        var given = recent.GetAsync("a", Read, impatient.Token);
        Task<KnownPolicy?>[] all = [.. Enumerable.Range(0, 10).Select(_ => recent.GetAsync("a", Read, Cancel).AsTask())];
        await impatient.CancelAsync(); // the first one gives up: the others get it all the same
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await given);
        gate.SetResult();
        Assert.All(await Task.WhenAll(all), Assert.NotNull);
        Assert.Equal(1, reads);
    }

    [Fact]
    public async Task What_is_forgotten_while_it_is_read_does_not_stay()
    {
        var recent = new RecentPolicies(new ServiceOptions(), _clock);
        var gate = new TaskCompletionSource();
        var old = recent.GetAsync("a", async () =>
        {
            await gate.Task;
            return Of(7);
        }, Cancel).AsTask();
        recent.Forget();
        Assert.Equal(["a"], await ReadAsync(recent, ("a", 1))); // read anew, and not waited for
        gate.SetResult();
        Assert.Equal(7, (await old)!.Size);
        Assert.Equal(1, (await recent.GetAsync("a", () => throw new InvalidOperationException("It is here."), Cancel))!.Size);
    }

    [Fact]
    public async Task Time_ends_and_a_failure_does_not_stay()
    {
        var recent = new RecentPolicies(new ServiceOptions(), _clock);
        await recent.GetAsync("a", () => Task.FromResult<KnownPolicy?>(Of(1) with { Until = _clock.GetUtcNow().AddMinutes(5) }), Cancel);
        _clock.Advance(TimeSpan.FromMinutes(5) - TimeSpan.FromTicks(1));
        Assert.Empty(await ReadAsync(recent, ("a", 1)));
        _clock.Advance(TimeSpan.FromTicks(1));
        Assert.Equal(["a"], await ReadAsync(recent, ("a", 1)));

        await Assert.ThrowsAsync<IOException>(async () => await recent.GetAsync("b", () => throw new IOException(), Cancel));
        Assert.Null(await recent.GetAsync("b", () => Task.FromResult<KnownPolicy?>(null), Cancel));
        await recent.GetAsync("b", () => Task.FromResult<KnownPolicy?>(new KnownPolicy(new PolicyReading.Refused("no"), 1)), Cancel);
        Assert.Equal(["b"], await ReadAsync(recent, ("b", 1)));
    }

    private static KnownPolicy Of(long size) => new(new PolicyReading.Boot(Boot, []), size);

    private static BootPolicy Boot => BootPolicy.TryParse(System.Text.Encoding.UTF8.GetBytes(BootTests.Policy()), out var policy, out var error) ? policy : throw new InvalidOperationException(error);

    // Those that had to be read.
    private static async Task<IReadOnlyList<string>> ReadAsync(RecentPolicies recent, params (string Digest, long Size)[] wanted)
    {
        var read = new List<string>();
        foreach (var (digest, size) in wanted)
        {
            await recent.GetAsync(digest, () =>
            {
                read.Add(digest);
                return Task.FromResult<KnownPolicy?>(Of(size));
            }, Cancel);
        }

        return read;
    }
}

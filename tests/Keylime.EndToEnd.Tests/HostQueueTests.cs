using Keylime.Demo;
using Keylime.FunctionsHost;

namespace Keylime.EndToEnd.Tests;

/// <summary>Deliveries by the queue trigger of the host: the host polls, hands out, deletes and poisons.</summary>
public sealed class HostQueueTests
{
    private static readonly TimeSpan Enough = TimeSpan.FromSeconds(90);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("Forwarding")]
    [InlineData("Proxying")]
    public async Task A_webhook_is_told_through_the_queue_and_what_is_no_message_of_ours_is_poisoned_and_told(string mode)
    {
        await using var receiver = Receiver.Start(static _ => { });
        await using var bench = await HostBench.StartAsync(Enum.Parse<HostMode>(mode), 60, new Uri(receiver.Url).Authority);
        receiver.Secret = await bench.Fleet.AddWebhookAsync("w", receiver.Url, "token.created,service.work_poisoned", Cancel);
        for (var i = 0; i < 5; i++)
            await CreateTokenAsync(bench, i);
        await WaitAsync(() => receiver.All.Count() == 5);
        await WaitAsync(() => bench.Host.QueueCalls.Count() >= 5);
        Assert.All(bench.Host.QueueCalls, static c => Assert.Equal(("trg-delivery", new Invocation(true, ""), false), (c.Function, c.Came, c.Poisoned)));
        Assert.Equal(0, receiver.Refused);

        // Where nothing waits without a message, the timer finds nothing.
        Assert.Equal(new Invocation(true, ""), await bench.Host.TickAsync("trg-deliveries", Cancel));

        // What nobody of ours puts there fails, whatever it is; and what the host has poisoned, after some minutes of that, comes into the events and the log.
        await bench.Queue("keylime-deliveries").SendMessageAsync("no Base64 {", Cancel);
        await WaitAsync(() => bench.Host.QueueCalls.Any(static c => c is { Function: "trg-delivery", Came: { Succeeded: false, Detail: "400" }, Poisoned: false }));
        await bench.Queue("keylime-deliveries-poison").SendMessageAsync("no Base64 {", Cancel);
        await WaitAsync(() => receiver.All.Any(static t => t.Type == "service.work_poisoned"));
        Assert.Contains(bench.Host.QueueCalls, static c => c is { Function: "trg-poison", Came.Succeeded: true });
        Assert.Contains(bench.Host.Handler.Log, static l => l.Line.Contains("Poisoned in the queue of deliveries", StringComparison.Ordinal)); // an alert looks for it
        Assert.Null(bench.Host.Handler.GaveUp);
        Assert.Empty(bench.Host.Handler.Log.Where(static l => l.Error).Select(static l => l.Line));
    }

    [Fact]
    public async Task A_handler_that_is_killed_in_the_middle_of_a_message_loses_nothing()
    {
        var (arrived, calls) = (new TaskCompletionSource(), 0);
        var killed = new ManualResetEventSlim();
        await using var receiver = Receiver.Start(_ =>
        {
            if (Interlocked.Increment(ref calls) != 1)
                return;
            arrived.SetResult();
            killed.Wait(Enough); // the answer goes to nobody
        });
        await using var bench = await HostBench.StartAsync(HostMode.Proxying, 60, new Uri(receiver.Url).Authority);
        receiver.Secret = await bench.Fleet.AddWebhookAsync("w", receiver.Url, "token.created", Cancel);
        await CreateTokenAsync(bench, 0);
        await CreateTokenAsync(bench, 1);
        await arrived.Task.WaitAsync(Enough, Cancel);
        await bench.Host.Handler.KillAsync();
        killed.Set();
        await bench.Host.Handler.StartAsync(Cancel);

        // Its claim hides the first event for half a minute, and the host gives its message back after as long; the second one is of the same subject, and comes behind it.
        await WaitAsync(() => receiver.All.Count() == 2 && bench.Host.QueueCalls.Any(static c => c.Came.Succeeded));
        await WaitAsync(async () => !(await bench.Fleet.DoAsync(Cancel, "webhook", "deliveries", "w", "--json")).Contains("\"pending\"", StringComparison.Ordinal));
        Assert.Contains(bench.Host.QueueCalls, static c => !c.Came.Succeeded); // the one that died
        Assert.DoesNotContain(bench.Host.QueueCalls, static c => c.Poisoned);
        Assert.Equal(2, receiver.All.Select(static t => t.Id).Distinct().Count());
        TestContext.Current.SendDiagnosticMessage($"functions host, queue: killed in the middle of a delivery; {bench.Host.QueueCalls.Count()} messages handed out, 2 events told, 0 lost");
    }

    private static Task<string> CreateTokenAsync(HostBench bench, int number) =>
        bench.Fleet.DoAsync(Cancel, "token", "create", $"t{number}", "--role", "auditor", "--token-file", Path.Combine(bench.Folder, $"t{number}.token"));

    private static Task WaitAsync(Func<bool> condition) => WaitAsync(() => Task.FromResult(condition()));

    private static async Task WaitAsync(Func<Task<bool>> condition)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Enough, "It was waited for long enough.");
            await Task.Delay(100, Cancel);
        }
    }
}

using Azure.Storage.Queues;
using Keylime.Functions.Notifications;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;

namespace Keylime.Functions.Tests;

/// <summary>Deliveries by a queue of a really started emulator, by the service's own pump: what a message does, and that without one nothing is lost.</summary>
public sealed class QueueDeliveryTests(AzuriteFixture fixture) : IAsyncLifetime
{
    private static readonly TimeSpan Enough = TimeSpan.FromSeconds(60);

    private readonly string _connections = Path.GetTempFileName();
    private string _connection = ""; // InitializeAsync

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private QueueClient Work => new(_connection, AzureAccounts.Work);

    public async ValueTask InitializeAsync()
    {
        _connection = fixture.Azurite.NewAccounts(1)[0];
        await File.WriteAllTextAsync(_connections, _connection, Cancel);
    }

    public ValueTask DisposeAsync()
    {
        File.Delete(_connections);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task Each_event_puts_a_message_for_each_webhook_that_wants_it_and_the_pump_delivers()
    {
        await using var one = await HookServer.StartAsync(200, "", 0);
        await using var two = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(one, two);
        await service.PutWebhookAsync("one", one, """{"events":["node.failed"]}""");
        await service.PutWebhookAsync("two", two, """{"events":["node.*"]}""");
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        await service.HappenAsync("a", EventTypes.NodeRecovered, 2);
        await WaitAsync(service, () => one.Requests.Count == 1 && two.Requests.Count == 2);
        Assert.Equal(["a node.failed 1", "a node.recovered 2"], two.Received());
        await WaitAsync(service, async () => (await Work.GetPropertiesAsync(Cancel)).Value.ApproximateMessagesCount == 0); // done and deleted
        Assert.Empty(await service.DeliveriesAsync("two", "pending"));
    }

    [Fact]
    public async Task A_failure_puts_one_message_for_later_however_often_somebody_looks()
    {
        var up = false;
        await using var receiver = await HookServer.StartAsync(context =>
        {
            context.Response.StatusCode = up ? 200 : 400;
            return Task.CompletedTask;
        });
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        for (var i = 0; i < 6; i++)
            await service.HappenAsync("a", EventTypes.NodeFailed, i);
        await WaitAsync(service, async () => !receiver.Requests.IsEmpty && (await Work.GetPropertiesAsync(Cancel)).Value.ApproximateMessagesCount == 1);
        await service.DeliverAsync();
        await service.DeliverAsync();
        Assert.Equal(1, (await Work.GetPropertiesAsync(Cancel)).Value.ApproximateMessagesCount); // hidden until the first delivery's next try
        Assert.Single(receiver.Requests);
        up = true;
        service.Clock.Advance(TimeSpan.FromSeconds(10)); // ours; the account's goes on by itself, and the message comes
        await WaitAsync(service, () => receiver.Requests.Count == 7);
        await WaitAsync(service, async () => (await service.DeliveriesAsync("w", "pending")).Length == 0);
    }

    [Fact]
    public async Task A_row_without_a_message_is_found_by_the_repair_and_one_that_waits_for_its_time_is_not()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        var channel = (await service.Get<IRecordStore<Webhook>>().FindAsync("w", Cancel))!.Value.Channel;
        var now = service.Clock.GetUtcNow();
        foreach (var (node, due) in ((string, DateTimeOffset)[])[("a", now), ("b", now.AddHours(1))]) // killed behind the row
            await service.Get<IOutbox>().TryAddAsync(new Delivery { Channel = channel, Event = EventRecord.Of(node, now, EventTypes.NodeFailed, node), QueuedAt = now, DueAt = due }, Cancel);
        await service.Get<DeliveryRepair>().RunAsync(Cancel);
        await Task.Delay(500, Cancel);
        Assert.Empty(receiver.Requests); // it may be on its way
        service.Clock.Advance(TimeSpan.FromSeconds(61));
        await service.Get<DeliveryRepair>().RunAsync(Cancel);
        await WaitAsync(service, () => receiver.Requests.Count == 1);
        Assert.Equal("a a", receiver.Received().Single());
        Assert.Contains(service.Log.All, static l => l.Contains("Something has waited for w since", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_message_that_is_none_of_ours_is_poisoned_told_and_kept_and_one_for_a_webhook_that_is_no_more_is_done()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(receiver);
        await Work.SendMessageAsync(Convert.ToBase64String(new DeliveryWork(1, new string('0', 32)).Write()), Cancel);
        await WaitAsync(service, async () => (await Work.GetPropertiesAsync(Cancel)).Value.ApproximateMessagesCount == 0);

        var queues = service.Get<DeliveryQueues>();
        var strange = "<QueueMessage>of somebody else</QueueMessage>"u8.ToArray();
        await queues.Work.PutAsync(strange, TimeSpan.Zero, Cancel);
        await WaitAsync(service, () => service.Log.All.Any(static l => l.Contains("is none of ours", StringComparison.Ordinal)));
        Assert.Equal(0, await PoisonedAsync()); // not by one failure: a newer program may know it

        // As it is after the last try.
        await queues.Poison.PutAsync(strange, TimeSpan.Zero, Cancel);
        await queues.Poison.PutAsync(new DeliveryWork(1, new string('0', 32)).Write(), TimeSpan.Zero, Cancel);
        await service.Get<DeliveryRepair>().RunAsync(Cancel);
        Assert.Equal(0, await PoisonedAsync());
        Assert.Equal(2, await service.CountEventsAsync(EventTypes.WorkPoisoned));
        Assert.Equal(2, service.Log.All.Count(static l => l.StartsWith("Warning: Poisoned in the queue of deliveries: ", StringComparison.Ordinal))); // an alert looks for it
        var digest = Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(strange));
        Assert.Equal(strange, (await service.Get<IBlobStore>().FindAsync(digest, Cancel))!.Value.ToArray());

        async Task<int> PoisonedAsync() => (await new QueueClient(_connection, AzureAccounts.Poison).GetPropertiesAsync(Cancel)).Value.ApproximateMessagesCount;
    }

    [Fact]
    public async Task A_queue_that_does_not_answer_keeps_no_event_from_being_told()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        await Work.DeleteAsync(Cancel);
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        Assert.Equal(1, await service.CountEventsAsync(EventTypes.NodeFailed));
        Assert.Contains(service.Log.All, static l => l.StartsWith("Warning: The queue of deliveries does not answer", StringComparison.Ordinal));
        service.Clock.Advance(TimeSpan.FromSeconds(61));
        await Assert.ThrowsAsync<StorageUnavailableException>(() => service.Get<DeliveryRepair>().RunAsync(Cancel)); // and its run fails, which an alert sees
        await Work.CreateIfNotExistsAsync(cancellationToken: Cancel);
        await service.Get<DeliveryRepair>().RunAsync(Cancel);
        await WaitAsync(service, () => receiver.Requests.Count == 1);
    }

    [Fact]
    public async Task Several_instances_at_one_queue_keep_the_order_of_a_subject_and_send_each_event_once()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 3);
        await using var here = await StartAsync(receiver);
        var folder = Directory.CreateTempSubdirectory("service-").FullName;
        Directory.CreateDirectory(Path.Combine(folder, "keys"), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        foreach (var shared in Directory.EnumerateFiles(here.Folder, "*.token").Concat(Directory.EnumerateFiles(Path.Combine(here.Folder, "keys"))))
            File.Copy(shared, Path.Combine(folder, Path.GetRelativePath(here.Folder, shared))); // what instances share beside their store
        await using var there = await TestService.StartAsync(folder: folder, clock: here.Clock, configure: o => o with { AzureConnections = _connections, AllowedOutbound = [receiver.Authority] });
        await here.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        there.Get<Webhooks>().Forget();
        for (var i = 0; i < 60; i++)
        {
            await (i % 2 == 0 ? here : there).HappenAsync($"n{i % 3}", EventTypes.NodeFailed, i);
            here.Clock.Advance(TimeSpan.FromMilliseconds(1));
        }

        await WaitAsync(here, () => receiver.Requests.Count >= 60);
        await Task.Delay(300, Cancel);
        Assert.Equal(60, receiver.Requests.Count);
        Assert.Equal(60, receiver.Ids().Distinct().Count());
        for (var node = 0; node < 3; node++)
        {
            var causes = receiver.Received().Where(r => r.StartsWith($"n{node} ", StringComparison.Ordinal)).Select(static r => int.Parse(r.Split(' ')[^1], System.Globalization.CultureInfo.InvariantCulture)).ToArray();
            Assert.Equal(causes.Order(), causes);
        }
    }

    private Task<TestService> StartAsync(params HookServer[] receivers) =>
        TestService.StartAsync(configure: o => o with { AzureConnections = _connections, AllowedOutbound = [.. receivers.Select(static r => r.Authority)] });

    private static Task WaitAsync(TestService service, Func<bool> condition) => WaitAsync(service, () => Task.FromResult(condition()));

    // The pump looks every two seconds by the service's clock, which nobody but this moves.
    private static async Task WaitAsync(TestService service, Func<Task<bool>> condition)
    {
        var start = TimeProvider.System.GetTimestamp();
        while (!await condition())
        {
            Assert.True(TimeProvider.System.GetElapsedTime(start) < Enough, "It was waited for long enough.");
            await Task.Delay(50, Cancel);
            service.Clock.Advance(TimeSpan.FromMilliseconds(100));
        }
    }
}

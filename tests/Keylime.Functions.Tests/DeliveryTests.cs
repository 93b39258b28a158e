using System.Collections.Concurrent;
using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Notifications;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Tests;

/// <summary>How events reach receivers: at least once, in order for one node, and whatever a receiver does, it is in nobody else's way.</summary>
public sealed class DeliveryTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Events_of_a_node_come_in_order_and_the_later_wait_for_the_earlier_while_other_nodes_go_on()
    {
        var stuck = true;
        await using var receiver = await HookServer.StartAsync(context =>
        {
            var body = (string)context.Items["body"]!;
            context.Response.StatusCode = stuck && body.Contains("\"subject\":\"a\"", StringComparison.Ordinal) && body.Contains("node.failed 2", StringComparison.Ordinal) ? 400 : 200;
            return Task.CompletedTask;
        });
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        for (var i = 1; i <= 4; i++)
        {
            foreach (var node in (string[])["a", "b", "c"])
                await service.HappenAsync(node, EventTypes.NodeFailed, i);
            service.Clock.Advance(TimeSpan.FromMilliseconds(1));
        }

        await service.DeliverAsync();
        Assert.Equal(["a node.failed 1", "a node.failed 2"], Of("a"));
        foreach (var node in (string[])["b", "c"])
            Assert.Equal(Enumerable.Range(1, 4).Select(i => $"{node} node.failed {i}"), Of(node));
        Assert.Equal(3, (await service.DeliveriesAsync("w", "pending")).Length);

        stuck = false;
        service.Clock.Advance(TimeSpan.FromSeconds(10));
        await service.DeliverAsync();
        Assert.Equal(["a node.failed 1", "a node.failed 2", "a node.failed 2", "a node.failed 3", "a node.failed 4"], Of("a"));
        Assert.Empty(await service.DeliveriesAsync("w", "pending"));
        Assert.Equal(12, receiver.Ids().Distinct().Count());
        var second = (await service.DeliveriesAsync("w")).Single(static d => d["attempts"]!.GetValue<int>() == 2);
        Assert.Equal(("delivered", 200, "a"), (second["state"]!.GetValue<string>(), second["status"]!.GetValue<int>(), second["subject"]!.GetValue<string>()));
        Assert.All(await service.DeliveriesAsync("w"), static d => Assert.True(d.ContainsKey("milliseconds") && d.ContainsKey("settledAt") && d.ContainsKey("attemptedAt")));

        string[] Of(string node) => [.. receiver.Received().Where(r => r.StartsWith(node + " ", StringComparison.Ordinal))];
    }

    [Fact]
    public async Task Of_events_of_one_moment_the_cause_comes_before_what_follows()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.*"]}""");
        var at = service.Clock.GetUtcNow();
        var outbox = service.Get<IOutbox>();
        var channel = (await service.Get<IRecordStore<Webhook>>().FindAsync("w", Cancel))!.Value.Channel;
        foreach (var type in (string[])[EventTypes.NodeFailed, EventTypes.NodeReturned, EventTypes.NodeRebooted]) // as they would stand by their names
            Assert.True(await outbox.TryAddAsync(new Delivery { Channel = channel, Event = EventRecord.Of("a", at, type, ""), QueuedAt = at, DueAt = at }, Cancel));
        await service.DeliverAsync();
        Assert.Equal(["node.rebooted", "node.returned", "node.failed"], receiver.Requests.Select(static r => JsonNode.Parse(r.Body)!["data"]!["event"]!["type"]!.GetValue<string>()));
    }

    [Fact]
    public async Task A_receiver_that_is_down_is_tried_for_three_days_with_longer_and_longer_pauses_and_then_given_up_with_an_event()
    {
        await using var receiver = await HookServer.StartAsync(503, "", 0);
        await using var other = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(receiver, other);
        await service.PutWebhookAsync("down", receiver, """{"events":["node.failed"]}""");
        await service.PutWebhookAsync("up", other, """{"events":["webhook.dead_lettered"]}""");
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        var start = service.Clock.GetUtcNow();
        var tries = new List<TimeSpan>();
        for (var seen = 0; service.Clock.GetUtcNow() < start.AddDays(2.99); service.Clock.Advance(TimeSpan.FromSeconds(service.Clock.GetUtcNow() < start.AddMinutes(10) ? 1 : 60)))
        {
            await service.DeliverAsync();
            var count = receiver.Requests.Count(static r => r.Body.Contains("\"subject\":\"a\"", StringComparison.Ordinal));
            if (count > seen)
                tries.Add(service.Clock.GetUtcNow() - start);
            if (count == 2 && seen == 1) // not before: its receiver rests after each event's failure
                await service.HappenAsync("b", EventTypes.NodeFailed, 1);
            seen = count;
        }

        Assert.Equal(2, (await service.DeliveriesAsync("down", "pending")).Length);
        var pauses = tries.Zip(tries.Skip(1), static (a, b) => b - a).ToArray();
        Assert.InRange(tries.Count, 20, 40);
        Assert.InRange(pauses[0].TotalSeconds, 4, 7);
        Assert.InRange(pauses[^1].TotalHours, 3.1, 5.9); // four hours, a fifth more or less, and the last step of this loop
        Assert.All(pauses.Zip(pauses.Skip(1)), static pair => Assert.True(pair.Second > pair.First * 0.6)); // they grow, but for chance

        service.Clock.Advance(TimeSpan.FromDays(0.2));
        await service.DeliverAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(61)); // it had paused
        await service.DeliverAsync();
        await service.DeliverAsync();
        Assert.Empty(await service.DeliveriesAsync("down", "pending"));
        var dead = await service.DeliveriesAsync("down");
        Assert.Equal(["dead", "dead"], dead.Select(static d => d["state"]!.GetValue<string>()));
        var minutes = dead.Select(static d => d["queuedAt"]!.GetValue<DateTimeOffset>().UtcTicks / TimeSpan.TicksPerMinute).Distinct().Count();
        Assert.Equal(minutes, await service.CountEventsAsync(EventTypes.WebhookDeadLettered)); // once a minute, of the minute that they were put into the outbox
        Assert.Equal(2, service.Log.All.Count(static l => l.StartsWith("Warning: Gave up delivering to down: it did not take 'node.failed' of '", StringComparison.Ordinal))); // an alert looks for it
        Assert.Equal(minutes, other.Requests.Count);
        Assert.Equal("webhook:down", JsonNode.Parse(other.Requests.First().Body)!["subject"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_receiver_that_has_gone_is_asked_no_more_until_it_is_put_again()
    {
        await using var receiver = await HookServer.StartAsync(410, "", 0);
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        await service.HappenAsync("a", EventTypes.NodeFailed, 2);
        await service.DeliverAsync();
        await service.DeliverAsync();
        Assert.Single(receiver.Requests);
        Assert.Equal(1, await service.CountEventsAsync(EventTypes.WebhookDisabled));
        Assert.NotNull((await service.Operator.SendAsync("GET", "/v1/webhooks/w")).Expect(HttpStatusCode.OK)["disabledAt"]);
        Assert.Empty(await service.DeliveriesAsync("w", "pending"));
        Assert.Equal(["dead", "dead"], (await service.DeliveriesAsync("w")).Select(static d => d["state"]!.GetValue<string>()));
        await service.HappenAsync("a", EventTypes.NodeFailed, 3);
        await service.DeliverAsync();
        Assert.Single(receiver.Requests);
        Assert.Equal(HttpStatusCode.Conflict, (await service.Operator.SendAsync("POST", "/v1/webhooks/w/replay?since=2020-01-01")).Status);

        service.Clock.Advance(TimeSpan.FromSeconds(1));
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        Assert.Null((await service.Operator.SendAsync("GET", "/v1/webhooks/w")).Expect(HttpStatusCode.OK)["disabledAt"]);
        await service.HappenAsync("a", EventTypes.NodeFailed, 4);
        await service.DeliverAsync();
        Assert.Equal(["a node.failed 1", "a node.failed 4"], receiver.Received());
    }

    [Theory]
    [InlineData("120", 120)]
    [InlineData("86400", 3600)] // no receiver makes us wait for a day
    [InlineData("soon", 5)]
    public async Task A_receiver_says_when_to_come_again(string retryAfter, int seconds)
    {
        var busy = true;
        await using var receiver = await HookServer.StartAsync(context =>
        {
            context.Response.StatusCode = busy ? 429 : 200;
            context.Response.Headers.RetryAfter = retryAfter;
            return Task.CompletedTask;
        });
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        await service.DeliverAsync();
        busy = false;
        service.Clock.Advance(TimeSpan.FromSeconds(seconds * 0.79));
        await service.HappenAsync("b", EventTypes.NodeFailed, 1);
        await service.DeliverAsync();
        Assert.Single(receiver.Received(), "a node.failed 1"); // neither that nor, where it asked for a pause, another one
        service.Clock.Advance(TimeSpan.FromSeconds(seconds * 0.45));
        await service.DeliverAsync();
        Assert.Equal(3, receiver.Requests.Count);
    }

    [Fact]
    public async Task A_receiver_that_hangs_is_in_the_way_of_no_other_and_of_no_attestation()
    {
        await using var slow = await HookServer.StartAsync(200, "", 60_000);
        await using var quick = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(slow, quick);
        await service.PutWebhookAsync("a-slow", slow);
        await service.PutWebhookAsync("quick", quick, """{"events":["node.failed","node.trusted"]}""");
        var start = TimeProvider.System.GetTimestamp();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
        for (var i = 0; i < 20; i++)
            await service.HappenAsync($"n{i}", EventTypes.NodeFailed, i);
        while (quick.Requests.Count < 21)
            await Task.Delay(10, Cancel);
        Assert.NotEmpty(slow.Requests);
        Assert.InRange(TimeProvider.System.GetElapsedTime(start).TotalSeconds, 0, 9.5); // the slow one has not even been given up
        await service.DeliverAsync(); // now it is
        var waiting = (await service.DeliveriesAsync("a-slow", "pending")).Where(static d => d["attempts"]!.GetValue<int>() > 0).ToArray();
        Assert.InRange(waiting.Length, 1, 8);
        Assert.All(waiting, static d => Assert.Contains("did not answer within 10 s", d["error"]!.GetValue<string>(), StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_status_alone_acknowledges_whatever_comes_with_it()
    {
        var answers = new ConcurrentQueue<string>();
        await using var receiver = await HookServer.StartAsync(async context =>
        {
            var body = (string)context.Items["body"]!;
            answers.Enqueue(body);
            if (body.Contains("node.failed 1\"", StringComparison.Ordinal))
            {
                context.Response.ContentLength = 10_000_000_000;
                await context.Response.StartAsync();
                while (!context.RequestAborted.IsCancellationRequested)
                    await context.Response.Body.WriteAsync(new byte[64 * 1024], context.RequestAborted);
            }
            else if (body.Contains("node.failed 2\"", StringComparison.Ordinal))
            {
                context.Response.Headers.ContentType = "application/json";
                await context.Response.Body.WriteAsync(new byte[] { 0, 0xFF, (byte)'{', 0xC3 }, context.RequestAborted);
            }
            else
            {
                context.Response.StatusCode = 202;
            }
        });
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        for (var i = 1; i <= 3; i++)
        {
            await service.HappenAsync("a", EventTypes.NodeFailed, i);
            service.Clock.Advance(TimeSpan.FromMilliseconds(1));
        }

        var start = TimeProvider.System.GetTimestamp();
        await service.DeliverAsync();
        Assert.Equal([202, 200, 200], (await service.DeliveriesAsync("w")).OrderByDescending(static d => d["at"]!.GetValue<string>()).Select(static d => d["status"]!.GetValue<int>()));
        Assert.Equal(3, answers.Count);
        Assert.InRange(TimeProvider.System.GetElapsedTime(start).TotalSeconds, 0, 8);
    }

    [Fact]
    public async Task A_redirect_is_no_acknowledgement_and_nobody_goes_there()
    {
        await using var target = await HookServer.StartAsync(200, "", 0);
        await using var receiver = await HookServer.StartAsync(context =>
        {
            context.Response.StatusCode = 307;
            context.Response.Headers.Location = target.Url;
            return Task.CompletedTask;
        });
        await using var service = await StartAsync(receiver, target);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        await service.DeliverAsync();
        var trial = (await service.Operator.SendAsync("POST", "/v1/webhooks/w/test")).Expect(HttpStatusCode.OK);
        Assert.False(trial["delivered"]!.GetValue<bool>());
        Assert.Empty(target.Requests);
        Assert.Contains("redirects are not followed", Assert.Single(await service.DeliveriesAsync("w", "pending"))["error"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("https://169.254.169.254/latest/meta-data")]
    [InlineData("https://localhost/")]
    [InlineData("https://[::ffff:10.0.0.1]/")]
    [InlineData("https://192.168.1.1/")]
    public async Task A_webhook_inside_the_walls_is_not_called(string url)
    {
        await using var service = await TestService.StartAsync();
        (await service.Operator.SendAsync("PUT", "/v1/webhooks/w", new JsonObject { ["url"] = url, ["events"] = new JsonArray("node.failed") })).Expect(HttpStatusCode.OK);
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        await service.DeliverAsync();
        var waiting = Assert.Single(await service.DeliveriesAsync("w", "pending"));
        Assert.Contains("has an address that is not public", waiting["error"]!.GetValue<string>(), StringComparison.Ordinal);
        var trial = (await service.Operator.SendAsync("POST", "/v1/webhooks/w/test")).Expect(HttpStatusCode.OK);
        Assert.Contains("not public", trial["error"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_event_that_is_told_twice_is_sent_once_and_one_that_was_told_half_to_everybody()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var late = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(receiver, late);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        for (var i = 0; i < 3; i++)
        {
            await service.HappenAsync("a", EventTypes.NodeFailed, 1);
            await service.DeliverAsync();
            await service.PutWebhookAsync("late", late, """{"events":["node.failed"]}"""); // what happened before is no news to it
        }

        Assert.Single(receiver.Requests);
        Assert.Empty(late.Requests);
    }

    [Fact]
    public async Task Replay_sends_what_happened_since_then_once_more_with_the_same_ids_and_in_order()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed","node.recovered"]}""");
        var times = new List<DateTimeOffset>();
        for (var i = 0; i < 6; i++)
        {
            times.Add(service.Clock.GetUtcNow());
            await service.HappenAsync("a", i % 2 == 0 ? EventTypes.NodeFailed : EventTypes.NodeRecovered, i);
            await service.HappenAsync("a", EventTypes.NodeRebooted, i);
            service.Clock.Advance(TimeSpan.FromMinutes(1));
        }

        await service.DeliverAsync();
        Assert.Equal(6, receiver.Requests.Count);
        service.Clock.Advance(TimeSpan.FromMinutes(1));
        var replay = await service.Operator.SendAsync("POST", $"/v1/webhooks/w/replay?since={Uri.EscapeDataString(times[2].ToString("O"))}");
        Assert.Equal(4, replay.Expect(HttpStatusCode.Accepted)["events"]!.GetValue<int>());
        await service.DeliverAsync();
        Assert.Equal(receiver.Ids()[2..6], receiver.Ids()[6..]);
        Assert.Equal(receiver.Received()[2..6], receiver.Received()[6..]);
        Assert.Equal(10, (await service.DeliveriesAsync("w")).Length); // each is a line of the ledger
        foreach (var since in (string[])["", "?since=", "?since=yesterday"])
            Assert.Equal(HttpStatusCode.BadRequest, (await service.Operator.SendAsync("POST", $"/v1/webhooks/w/replay{since}")).Status);
    }

    [Fact]
    public async Task Several_instances_at_one_outbox_send_each_event_once()
    {
        await using var receiver = await HookServer.StartAsync(200, "", 5);
        await using var here = await StartAsync(receiver);
        await using var there = await TestService.StartAsync(folder: here.Folder, clock: here.Clock, configure: o => o with { AllowedOutbound = [receiver.Authority] });
        await here.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        there.Get<Webhooks>().Forget();
        for (var i = 0; i < 60; i++)
            await (i % 2 == 0 ? here : there).HappenAsync($"n{i % 7}", EventTypes.NodeFailed, i);
        for (var i = 0; i < 3; i++)
            await Task.WhenAll(here.DeliverAsync(), there.DeliverAsync());
        Assert.Empty(await here.DeliveriesAsync("w", "pending"));
        Assert.Equal(60, receiver.Requests.Count);
        Assert.Equal(60, receiver.Ids().Distinct().Count());
    }

    [Fact]
    public async Task What_waits_for_a_removed_webhook_is_not_sent_to_the_next_one_of_its_name()
    {
        var ready = false;
        await using var receiver = await HookServer.StartAsync(context =>
        {
            context.Response.StatusCode = ready ? 200 : 503;
            return Task.CompletedTask;
        });
        await using var service = await StartAsync(receiver);
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        await service.HappenAsync("a", EventTypes.NodeFailed, 1);
        await service.DeliverAsync();
        var channel = (await service.Get<IRecordStore<Webhook>>().FindAsync("w", Cancel))!.Value.Channel;
        Assert.Equal(HttpStatusCode.NoContent, (await service.Operator.SendAsync("DELETE", "/v1/webhooks/w")).Status);
        Assert.Empty((await service.Get<IOutbox>().PendingAsync(channel, null, 10, Cancel)).Items);
        ready = true;
        await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
        service.Clock.Advance(TimeSpan.FromDays(1));
        await service.DeliverAsync();
        Assert.Single(receiver.Requests);
        Assert.Empty(await service.DeliveriesAsync("w"));
    }

    [Fact]
    public async Task A_message_that_fails_is_tried_five_times_with_pauses_and_then_poisoned_and_told()
    {
        await using var service = await TestService.StartAsync();
        await service.Get<DeliveryQueues>().Work.PutAsync("""{"version":2,"channel":"of another program"}"""u8.ToArray(), TimeSpan.Zero, Cancel);
        var (start, tries) = (service.Clock.GetUtcNow(), 0);
        for (var steps = 0; steps < 200 && await service.CountEventsAsync(EventTypes.WorkPoisoned) == 0; steps++)
        {
            service.Clock.Advance(TimeSpan.FromSeconds(5));
            await Task.Delay(20, Cancel);
            tries = service.Log.All.Count(static l => l.Contains("of the queue of deliveries is none of ours: It is of version 2, where 1 is expected.", StringComparison.Ordinal));
        }

        Assert.Equal(DeliveryPump.MaxTaken, tries);
        Assert.InRange(service.Clock.GetUtcNow() - start, 4 * DeliveryPump.Again, 4 * DeliveryPump.Again + TimeSpan.FromMinutes(10));
        Assert.Equal(1, await service.CountEventsAsync(EventTypes.WorkPoisoned));
        service.Clock.Advance(TimeSpan.FromHours(1));
        await Task.Delay(100, Cancel);
        Assert.Equal(1, await service.CountEventsAsync(EventTypes.WorkPoisoned));
    }

    private static Task<TestService> StartAsync(params HookServer[] receivers) =>
        TestService.StartAsync(configure: o => o with { AllowedOutbound = [.. receivers.Select(static r => r.Authority)] });
}

using Keylime.Functions.Notifications;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>
/// The store dies at write N, for every N from the evidence of a node that fails to the acknowledgement of the one who is told. A new process on the same store, a look
/// at the node and a round of deliveries: the receiver has the event, in all copies with one id, and nothing waits.
/// </summary>
public sealed class OutboxCrashTests(AzuriteFixture fixture)
{
    private const int MostWrites = 30;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("sqlite")]
    [InlineData("azure")]
    public async Task Whatever_write_it_dies_at_the_receiver_is_told(string store)
    {
        using var tpm = new SoftwareTpm();
        var (moments, untold, copies) = (0, 0, 0);
        for (var write = 1; write <= MostWrites; write++)
        {
            var whole = true;
            foreach (var after in (bool[])[false, true])
            {
                var (blown, before, sent) = await DieAsync(store, write, after, tpm);
                whole &= !blown;
                moments++;
                untold += before == 0 ? 1 : 0;
                copies += sent > 1 ? 1 : 0;
            }

            if (!whole)
                continue;
            Assert.True(untold > 4 && copies > 0, $"{untold}, {copies}"); // it died both before the message went out and behind
            TestContext.Current.SendDiagnosticMessage($"outbox crash matrix: {store}: {write - 1} writes from evidence to acknowledgement, {moments} deaths, {untold} before it was sent, {copies} sent again with the same id, 0 lost");
            return;
        }

        Assert.Fail($"More than {MostWrites} writes.");
    }

    /// <returns>Whether the fuse blew; how many messages had come when it did, and at the end.</returns>
    private async Task<(bool Blown, int Before, int Sent)> DieAsync(string store, int write, bool after, SoftwareTpm tpm)
    {
        await using var receiver = await HookServer.StartAsync(200, "", 0);
        var folder = Directory.CreateTempSubdirectory("crash-").FullName;
        var clock = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        IFuse fuse = store == "azure" ? await AzureFuse.CreateAsync(fixture) : new StoreFuse();
        TestAgent? agent = null;
        try
        {
            await using (var service = await StartAsync())
            {
                tpm.Reset();
                agent = new TestAgent(service, "node", tpm);
                await agent.Ima.StartAsync(Cancel);
                await agent.EnrolAsync();
                await service.PutWebhookAsync("w", receiver, """{"events":["node.failed"]}""");
                await agent.MeasureAsync("/opt/unknown");
                fuse.Arm(write, after);
                if (await agent.AttestAtAsync(service))
                {
                    try
                    {
                        await service.DeliverAsync();
                    }
                    catch (StorageUnavailableException)
                    {
                        // dead
                    }
                }
            }

            var before = receiver.Requests.Count;
            fuse.Arm(int.MaxValue, after: false);
            clock.Advance(Receiver.Claim + TimeSpan.FromSeconds(1)); // what was claimed by the dead one is seen again
            await using var restarted = await StartAsync();
            await restarted.Operator.SendAsync("GET", "/v1/nodes/node");
            if (await restarted.CountEventsAsync("node.failed") == 0)
                Assert.True(await agent.AttestAtAsync(restarted)); // no verdict was stored: the agent comes again
            await restarted.DeliverAsync();

            Assert.Equal(1, await restarted.CountEventsAsync("node.failed"));
            await restarted.NoticesAgreeAsync();
            Assert.NotEmpty(receiver.Requests);
            Assert.Single(receiver.Ids().Distinct());
            Assert.Single(receiver.Requests.Select(static r => r.Body).Distinct());
            Assert.Empty(await restarted.DeliveriesAsync("w", "pending"));
            Assert.InRange((await restarted.DeliveriesAsync("w")).Length, 1, receiver.Requests.Count);
            Assert.Empty(fuse.Unconditional);
            return (fuse.Blown, before, receiver.Requests.Count);
        }
        finally
        {
            agent?.Dispose();
            Directory.Delete(folder, recursive: true);
        }

        Task<TestService> StartAsync() => TestService.StartAsync(services =>
        {
            fuse.Install(services);
            if (fuse is AzureFuse { Queues: var queues })
                services.Replace(ServiceDescriptor.Singleton(queues)); // putting a message is one of the writes
            // These would do at their own time what the test does.
            services.Remove(services.Single(static s => s.ImplementationType == typeof(Repair)));
            services.Remove(services.Single(static s => s.ImplementationType == typeof(DeliveryPump)));
        }, folder, clock, configure: o => o with { AllowedOutbound = [receiver.Authority] });
    }
}

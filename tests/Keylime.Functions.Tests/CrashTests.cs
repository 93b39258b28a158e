using Keylime.Functions.Hosting;
using Keylime.Functions.Verifier;
using Keylime.Testing;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Functions.Tests;

/// <summary>
/// The store dies at write N, for every N of every change of state there is (<see cref="CrashChanges"/>). A new process on the same store, and the same request
/// once more, must end where no crash would have; and where a node was changed, a mere look at it does the rest.
/// </summary>
/// <remarks>
/// What stands in the store when it dies before write N + 1 is what stands there when it dies behind write N. So of a node's changes the first is followed by the
/// request alone, the second by a look.
/// </remarks>
public abstract class CrashTests(AzuriteFixture? azurite)
{
    private const int MostWrites = 20;

    public static TheoryData<string> Changes => [.. CrashChanges.All.Keys];

    [Theory]
    [MemberData(nameof(Changes))]
    public async Task What_a_crash_at_any_write_leaves_the_next_request_repairs(string name)
    {
        var change = CrashChanges.All[name];
        using var tpm = new SoftwareTpm();
        var (moments, looks) = (0, 0);
        for (var write = 1; write <= MostWrites; write++)
        {
            var whole = true;
            foreach (var after in (bool[])[false, true])
            {
                if (!after && write > 1 && change.Happened is null)
                    continue;
                var look = after && change.Happened is not null;
                whole &= await TryMomentAsync(change, write, after, tpm, async (service, agent) =>
                {
                    if (look)
                    {
                        await service.Operator.SendAsync("GET", $"/v1/nodes/{agent.Id}");
                        if (await change.Happened!(service, agent))
                        {
                            looks++;
                            await change.After(service);
                        }
                    }

                    Assert.True(await change.Request(service, agent), "The same request again, on what the crash left, succeeds.");
                    await change.After(service);
                });
                moments++;
            }

            if (!whole)
                continue;
            Assert.True(write > 1, "The change wrote nothing.");
            Assert.True(looks > 1 || change.Happened is null, "No look met a change half done.");
            TestContext.Current.SendDiagnosticMessage($"crash matrix: {name} on {(azurite is null ? "sqlite" : "azure")}: {write - 1} writes, {moments} moments");
            return;
        }

        Assert.Fail($"More than {MostWrites} writes.");
    }

    /// <returns>True where the fuse did not blow: the change has fewer writes.</returns>
    private async Task<bool> TryMomentAsync(Change change, int write, bool after, SoftwareTpm tpm, Func<TestService, TestAgent, Task> then)
    {
        var folder = Directory.CreateTempSubdirectory("crash-").FullName;
        var clock = new SteppedClock(TimeProvider.System.GetUtcNow());
        IFuse fuse = azurite is null ? new StoreFuse() : await AzureFuse.CreateAsync(azurite);
        TestAgent? agent = null;
        try
        {
            await using (var service = await TestService.StartAsync(Install, folder, clock, configure: change.Options))
            {
                tpm.Reset();
                agent = new TestAgent(service, "node", tpm);
                await agent.Ima.StartAsync(TestContext.Current.CancellationToken);
                await agent.MeasureAsync("/usr/bin/tool");
                await change.Before(agent);
                fuse.Arm(write, after);
                var done = await change.Request(service, agent);
                if (!fuse.Blown)
                    Assert.True(done, "Without a crash the request succeeds.");
            }

            fuse.Arm(int.MaxValue, after: false);
            clock.Advance(TimeSpan.FromSeconds(1));
            await using var restarted = await TestService.StartAsync(Install, folder, clock, configure: change.Options);
            await then(restarted, agent);
            await restarted.NoticesAgreeAsync();
            Assert.Empty(fuse.Unconditional);
            return !fuse.Blown;
        }
        finally
        {
            agent?.Dispose();
            Directory.Delete(folder, recursive: true);
        }

        void Install(IServiceCollection services)
        {
            fuse.Install(services);
            // The repair at the start would hide what requests do not repair.
            services.Remove(services.Single(static s => s.ImplementationType == typeof(Repair)));
            services.Remove(services.Single(static s => s.ImplementationType == typeof(Notifications.DeliveryPump))); // and this writes when it likes
        }
    }
}

/// <summary>On SQLite: a class of its own, so that it runs beside the one on Azurite.</summary>
public sealed class SqliteCrashTests() : CrashTests(null);

/// <summary>On Azure's tables and blobs, at each single request.</summary>
public sealed class AzureCrashTests(AzuriteFixture fixture) : CrashTests(fixture);

/// <summary>A change of state.</summary>
/// <param name="Before">How the stage is set.</param>
/// <param name="Request">What is asked for; true where it was granted.</param>
/// <param name="After">What must be true when it is done.</param>
internal sealed record Change(Func<TestAgent, Task> Before, Func<TestService, TestAgent, Task<bool>> Request, Func<TestService, Task> After)
{
    /// <summary>Whether the node shows the change, for those that show on a node.</summary>
    public Func<TestService, TestAgent, Task<bool>>? Happened { get; init; }

    /// <summary>What the service is set to, where that matters.</summary>
    public Func<ServiceOptions, ServiceOptions>? Options { get; init; }
}

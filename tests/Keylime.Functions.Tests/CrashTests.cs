using System.Net;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>The store dies at the Nth write, before it or right after it; a new process on the same files must tell the truth again.</summary>
public sealed class CrashTests
{
    public static TheoryData<int, bool, bool> Moments
    {
        get
        {
            var moments = new TheoryData<int, bool, bool>();
            for (var write = 1; write <= 4; write++)
            {
                foreach (var after in (bool[])[false, true])
                {
                    foreach (var pass in (bool[])[false, true])
                        moments.Add(write, after, pass);
                }
            }

            return moments;
        }
    }

    [Theory]
    [MemberData(nameof(Moments))]
    public async Task A_verdict_is_never_lost_nor_told_twice(int write, bool after, bool pass)
    {
        var folder = Directory.CreateTempSubdirectory("crash-").FullName;
        try
        {
            var fuse = new Fuse();
            bool answered;
            string? token;
            TestAgent agent;
            Microsoft.Extensions.Time.Testing.FakeTimeProvider clock;
            await using (var service = await TestService.StartAsync(fuse.Install, folder))
            {
                clock = service.Clock;
                agent = await TestAgent.EnrolledAsync(service, "node");
                if (!pass)
                    await agent.MeasureAsync("/evil");
                var asked = await agent.AskedAsync();
                fuse.Arm(write, after);
                var reply = await agent.SubmitAsync(asked, agent.Collect(asked));
                answered = reply.Status == HttpStatusCode.Accepted;
                Assert.True(answered || reply.Status == HttpStatusCode.ServiceUnavailable, $"{reply.Status}: {reply.Text}");
                token = agent.Token;
            }

            await using var restarted = await TestService.StartAsync(folder: folder, clock: clock);
            using var _ = agent;
            var verdicts = (await restarted.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Expect(HttpStatusCode.OK)["verdicts"]!.AsArray();
            var node = (await restarted.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["node"]!;
            Assert.Equal(verdicts.Count, node["attestations"]!.GetValue<int>());
            Assert.InRange(verdicts.Count, answered ? 1 : 0, 1);
            var state = verdicts.Count == 0 ? "pending" : pass ? "trusted" : "failed";
            Assert.Equal(state, node["state"]!.GetValue<string>());

            // The agent goes on with the token that it has; what is told to the operator is told once.
            using var again = new TestAgent(restarted, "node", agent.Tpm) { Token = token };
            clock.Advance(TimeSpan.FromSeconds(60));
            (await again.AskAsync(agent.Capabilities())).Expect(HttpStatusCode.Created);
            var events = (await restarted.Operator.SendAsync("GET", "/v1/nodes/node/events")).Expect(HttpStatusCode.OK)["events"]!.AsArray();
            var told = events.Select(e => e!["type"]!.GetValue<string>()).Where(t => t is "node.trusted" or "node.failed").ToArray();
            Assert.Equal(verdicts.Count == 0 ? [] : [pass ? "node.trusted" : "node.failed"], told);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Counts writes, and fails one of them and all that follow, as a process that is killed there would.</summary>
    private sealed class Fuse
    {
        private int _left = int.MaxValue;
        private bool _after;

        public void Arm(int write, bool after) => (_left, _after) = (write, after);

        public void Install(IServiceCollection services)
        {
            services.RemoveAll<INodeStore>();
            services.RemoveAll<IVerdictStore>();
            services.RemoveAll<IEventStore>();
            services.AddSingleton<Storage.Sqlite.SqliteNodeStore>();
            services.AddSingleton<Storage.Sqlite.SqliteVerdictStore>();
            services.AddSingleton<Storage.Sqlite.SqliteEventStore>();
            services.AddSingleton<INodeStore>(p => new FusedNodes(this, p.GetRequiredService<Storage.Sqlite.SqliteNodeStore>()));
            services.AddSingleton<IVerdictStore>(p => new FusedVerdicts(this, p.GetRequiredService<Storage.Sqlite.SqliteVerdictStore>()));
            services.AddSingleton<IEventStore>(p => new FusedEvents(this, p.GetRequiredService<Storage.Sqlite.SqliteEventStore>()));
        }

        public async Task<T> WriteAsync<T>(Func<Task<T>> write)
        {
            var left = Interlocked.Decrement(ref _left);
            if (left < 0 || (left == 0 && !_after))
                throw new StorageUnavailableException("The fuse has blown.");
            var result = await write();
            return left == 0 ? throw new StorageUnavailableException("The fuse has blown behind the write.") : result;
        }
    }

    private sealed class FusedNodes(Fuse fuse, INodeStore inner) : INodeStore
    {
        public Task<Stored<Node>?> FindAsync(AgentId id, CancellationToken cancel) => inner.FindAsync(id, cancel);

        public Task<Stored<Node>?> TryAddAsync(Node node, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryAddAsync(node, cancel));

        public Task<Stored<Node>?> TryReplaceAsync(Stored<Node> read, Node next, CancellationToken cancel) =>
            fuse.WriteAsync(() => inner.TryReplaceAsync(read, next, cancel));

        public Task<Page<Node>> ListAsync(NodeQuery query, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(query, after, limit, cancel);
    }

    private sealed class FusedVerdicts(Fuse fuse, IVerdictStore inner) : IVerdictStore
    {
        public Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryAddAsync(verdict, cancel));

        public Task<VerdictRecord?> FindAsync(AgentId node, long attestation, CancellationToken cancel) => inner.FindAsync(node, attestation, cancel);

        public Task<Page<VerdictRecord>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(node, after, limit, cancel);

        public Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(AgentId node, long attestation, int limit, CancellationToken cancel) =>
            inner.ListSinceAsync(node, attestation, limit, cancel);
    }

    private sealed class FusedEvents(Fuse fuse, IEventStore inner) : IEventStore
    {
        public Task AddAsync(NodeEvent happened, CancellationToken cancel) => fuse.WriteAsync(async () =>
        {
            await inner.AddAsync(happened, cancel);
            return true;
        });

        public Task<Page<NodeEvent>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(node, after, limit, cancel);
    }
}

using System.Net;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Protocol;
using Keylime.Testing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>
/// The store dies at write N, before it or right after it, for every N of every change of state there is; a new process on the same store, and the same
/// request once more, must end where no crash would have.
/// </summary>
public sealed class CrashTests(AzuriteFixture fixture)
{
    private const int MostWrites = 12;

    // What changes a state: how the stage is set, the request, and what must be true when it has been repeated.
    private static readonly Dictionary<string, Change> Changes = new()
    {
        ["activate, and wait"] = new(
            a => a.RegisterOnlyAsync(),
            (s, a) => a.RegisterAsync(s),
            async s =>
            {
                await s.IsAsync("pending", "Waits for an operator");
                await s.ToldOnceAsync("registration.activated", "node.pending");
            }),
        ["activate, and be admitted by a rule"] = new(
            async a =>
            {
                await a.PutPolicyAsync();
                (await a.Service.Operator.SendAsync("PUT", "/v1/enrolment-rules/listed", new JsonObject { ["kind"] = "ek-list", ["node"] = new JsonObject { ["runtimePolicy"] = a.Id } })).Expect(HttpStatusCode.OK);
                await a.ListKeyAsync();
            },
            (s, a) => a.RegisterAsync(s),
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("registration.activated", "node.enrolled");
            }),
        ["enrol"] = new(
            async a =>
            {
                await a.RegisterAsync();
                await a.PutPolicyAsync();
            },
            async (s, a) => (await s.Operator.SendAsync("PUT", $"/v1/nodes/{a.Id}", new JsonObject { ["runtimePolicy"] = a.Id })).Status is HttpStatusCode.OK or HttpStatusCode.Created,
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("node.enrolled");
            }),
        ["propose another key"] = new(
            a => a.EnrolAsync(),
            (s, a) => a.WithNewKey().RegisterAsync(s),
            s => s.ToldOnceAsync("registration.key_change_proposed")),
        ["approve another key"] = new(
            async a =>
            {
                await a.EnrolAsync();
                await a.WithNewKey().RegisterAsync();
            },
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/approve", new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(a.WithNewKey().Tpm.AttestationKey.ComputeName()) })).Status == HttpStatusCode.OK,
            async s =>
            {
                await s.ToldOnceAsync("registration.key_change_approved");
                var node = (await s.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK);
                Assert.Null(node["proposedKeyName"]);
                var registered = (await s.Operator.SendAsync("GET", "/v2.6/agents/node")).Json["results"]!["aik_tpm"]!.GetValue<string>();
                Assert.Equal(node["attestationKeyName"]!.GetValue<string>(), Convert.ToHexStringLower(Tpm.PublicArea.Parse(Convert.FromBase64String(registered)).ComputeName()));
            }),
        ["approve a waiting node"] = new(
            a => a.RegisterAsync(),
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/approve", new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(a.Tpm.AttestationKey.ComputeName()) })).Status
                is HttpStatusCode.OK or HttpStatusCode.Created,
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("node.enrolled");
            }),
        ["approve another key of a waiting node"] = new(
            async a =>
            {
                await a.RegisterAsync();
                await a.WithNewKey().RegisterAsync();
            },
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/approve", new JsonObject { ["attestationKeyName"] = Convert.ToHexStringLower(a.WithNewKey().Tpm.AttestationKey.ComputeName()) })).Status
                is HttpStatusCode.OK or HttpStatusCode.Created,
            async s =>
            {
                await s.IsAsync("pending", "Enrolled, and not attested yet.");
                await s.ToldOnceAsync("registration.key_change_approved", "node.enrolled");
                var node = (await s.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK);
                Assert.Null(node["proposedKeyName"]);
            }),
        ["prove possession"] = new(
            a => a.EnrolAsync(),
            async (s, a) =>
            {
                using var here = a.At(s);
                var (session, challenge) = await here.OpenSessionAsync();
                return (await here.ProveAsync(session, here.Proof(challenge))).Status == HttpStatusCode.OK;
            },
            s => s.IsAsync("pending", "Enrolled, and not attested yet.")),
        ["pass"] = new(
            a => a.EnrolAsync(),
            (s, a) => a.AttestAtAsync(s),
            async s =>
            {
                await s.IsAsync("trusted", "Nothing speaks against it.");
                await s.ToldOnceAsync("node.trusted");
                await s.CountsAgreeAsync();
            }),
        ["fail"] = new(
            async a =>
            {
                await a.EnrolAsync();
                await a.MeasureAsync("/evil");
            },
            (s, a) => a.AttestAtAsync(s),
            async s =>
            {
                await s.IsAsync("failed", "/evil");
                await s.ToldOnceAsync("node.failed");
                await s.CountsAgreeAsync();
            }),
        ["retire"] = new(
            a => a.EnrolAsync(),
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/retire")).Status == HttpStatusCode.OK,
            async s =>
            {
                await s.IsAsync("retired", "Retired");
                await s.ToldOnceAsync("node.retired");
            }),
        ["reactivate"] = new(
            async a =>
            {
                await a.EnrolAsync();
                (await a.Service.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/retire")).Expect(HttpStatusCode.OK);
            },
            async (s, a) => (await s.Operator.SendAsync("POST", $"/v1/nodes/{a.Id}/reactivate")).Status == HttpStatusCode.OK,
            async s =>
            {
                await s.IsAsync("pending", "");
                await s.ToldOnceAsync("node.reactivated");
            }),
        ["forget a registration"] = new(
            a => a.RegisterAsync(),
            async (s, a) => (await s.Operator.SendAsync("DELETE", $"/v2.6/agents/{a.Id}")).Status is HttpStatusCode.OK or HttpStatusCode.NotFound,
            async s =>
            {
                Assert.Equal(HttpStatusCode.NotFound, (await s.Operator.SendAsync("GET", "/v2.6/agents/node")).Status);
                Assert.Contains("registration.deleted", await s.EventTypesAsync());
            }),
        ["put a policy"] = new(
            _ => Task.CompletedTask,
            (s, a) => a.TryPutPolicyAsync(s),
            async s =>
            {
                (await s.Operator.SendAsync("GET", "/v1/policies/node")).Expect(HttpStatusCode.OK);
                Assert.Equal(1, (await s.EventTypesAsync("/v1/events")).Count(t => t == "policy.changed"));
            }),
        ["trust a certificate"] = new(
            _ => Task.CompletedTask,
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/trust", TestCertificates.Root.ExportCertificatePem(), "application/x-pem-file")).Status == HttpStatusCode.OK,
            async s => Assert.Equal(1, (await s.EventTypesAsync("/v1/events")).Count(t => t == "trust.changed"))),
    };

    public static TheoryData<string, string> Matrix
    {
        get
        {
            var matrix = new TheoryData<string, string>();
            foreach (var change in Changes.Keys)
            {
                matrix.Add(change, "sqlite");
                matrix.Add(change, "azure");
            }

            return matrix;
        }
    }

    private sealed record Change(Func<TestAgent, Task> Before, Func<TestService, TestAgent, Task<bool>> Request, Func<TestService, Task> After);

    [Theory]
    [MemberData(nameof(Matrix))]
    public async Task What_a_crash_at_any_write_leaves_the_next_request_repairs(string name, string store)
    {
        var change = Changes[name];
        var moments = 0;
        for (var write = 1; write <= MostWrites; write++)
        {
            var whole = true;
            foreach (var after in (bool[])[false, true])
            {
                whole &= await TryMomentAsync(change, store, write, after);
                moments++;
            }

            if (!whole)
                continue;
            Assert.True(write > 1, "The change wrote nothing.");
            TestContext.Current.SendDiagnosticMessage($"crash matrix: {name} on {store}: {write - 1} writes, {moments} moments");
            return;
        }

        Assert.Fail($"More than {MostWrites} writes.");
    }

    /// <returns>True where the fuse did not blow: the change has fewer writes.</returns>
    private async Task<bool> TryMomentAsync(Change change, string store, int write, bool after)
    {
        var folder = Directory.CreateTempSubdirectory("crash-").FullName;
        var azure = store == "azure" ? await fixture.NewAccountsAsync(1) : null;
        var clock = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        TestAgent? agent = null;
        try
        {
            var fuse = new Fuse(azure);
            await using (var service = await TestService.StartAsync(fuse.Install, folder, clock))
            {
                agent = new TestAgent(service, "node");
                await agent.Ima.StartAsync(TestContext.Current.CancellationToken);
                await agent.MeasureAsync("/usr/bin/tool");
                await change.Before(agent);
                fuse.Arm(write, after);
                var done = await change.Request(service, agent);
                if (!fuse.Blown)
                    Assert.True(done, "Without a crash the request succeeds.");
            }

            clock.Advance(TimeSpan.FromSeconds(1));
            await using var restarted = await TestService.StartAsync(new Fuse(azure).Install, folder, clock);
            Assert.True(await change.Request(restarted, agent), "The same request again, on what the crash left, succeeds.");
            await change.After(restarted);
            return !fuse.Blown;
        }
        finally
        {
            agent?.Dispose();
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Counts writes, and fails one of them and all that follow, as a process that is killed there would.</summary>
    private sealed class Fuse(AzureAccounts? azure)
    {
        private int _left = int.MaxValue;
        private bool _after;

        public bool Blown { get; private set; }

        public void Arm(int write, bool after) => (_left, _after) = (write, after);

        public void Install(IServiceCollection services)
        {
            if (azure is not null)
            {
                services.Replace(ServiceDescriptor.Singleton<INodeStore>(p => new AzureNodeStore(azure, p.GetRequiredService<UnreadableRows>())));
                services.Replace(ServiceDescriptor.Singleton<IVerdictStore>(p => new AzureVerdictStore(azure, p.GetRequiredService<UnreadableRows>())));
                services.Replace(ServiceDescriptor.Singleton<IEventStore>(p => new AzureEventStore(azure, p.GetRequiredService<UnreadableRows>())));
                services.Replace(ServiceDescriptor.Singleton<IBlobStore>(new AzureBlobStore(azure)));
                OnAzure(RecordKinds.Registrations);
                OnAzure(RecordKinds.Policies);
                OnAzure(RecordKinds.EndorsementOwners);
                OnAzure(RecordKinds.KnownEndorsementKeys);
                OnAzure(RecordKinds.TrustedCertificates);
                OnAzure(RecordKinds.EnrolmentRules);
                OnAzure(RecordKinds.AccessTokens);
            }

            Decorate<INodeStore>(services, inner => new FusedNodes(this, inner));
            Decorate<IVerdictStore>(services, inner => new FusedVerdicts(this, inner));
            Decorate<IEventStore>(services, inner => new FusedEvents(this, inner));
            Decorate<IBlobStore>(services, inner => new FusedBlobs(this, inner));
            Decorate<IRecordStore<Registration>>(services, inner => new FusedRecords<Registration>(this, inner));
            Decorate<IRecordStore<PolicyRecord>>(services, inner => new FusedRecords<PolicyRecord>(this, inner));
            Decorate<IRecordStore<EndorsementOwner>>(services, inner => new FusedRecords<EndorsementOwner>(this, inner));
            Decorate<IRecordStore<TrustedCertificate>>(services, inner => new FusedRecords<TrustedCertificate>(this, inner));
            Decorate<IRecordStore<EnrolmentRule>>(services, inner => new FusedRecords<EnrolmentRule>(this, inner));

            void OnAzure<T>(RecordKind<T> kind)
                where T : class =>
                services.Replace(ServiceDescriptor.Singleton<IRecordStore<T>>(p => new AzureRecordStore<T>(azure, kind, p.GetRequiredService<UnreadableRows>())));
        }

        public async Task<T> WriteAsync<T>(Func<Task<T>> write)
        {
            var left = Interlocked.Decrement(ref _left);
            if (left < 0 || (left == 0 && !_after))
                throw Blow("The fuse has blown.");
            var result = await write();
            return left == 0 ? throw Blow("The fuse has blown behind the write.") : result;
        }

        private StorageUnavailableException Blow(string message)
        {
            Blown = true;
            return new StorageUnavailableException(message);
        }

        private static void Decorate<T>(IServiceCollection services, Func<T, T> wrap)
            where T : class
        {
            var inner = services.Last(s => s.ServiceType == typeof(T));
            services.Remove(inner);
            services.AddSingleton(p => wrap(inner.ImplementationInstance as T
                ?? inner.ImplementationFactory?.Invoke(p) as T
                ?? (T)ActivatorUtilities.CreateInstance(p, inner.ImplementationType!)));
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
        public Task AddAsync(EventRecord happened, CancellationToken cancel) => fuse.WriteAsync(async () =>
        {
            await inner.AddAsync(happened, cancel);
            return true;
        });

        public Task<Page<EventRecord>> ListAsync(EventQuery query, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(query, after, limit, cancel);
    }

    private sealed class FusedBlobs(Fuse fuse, IBlobStore inner) : IBlobStore
    {
        public Task<string> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancel) => fuse.WriteAsync(() => inner.PutAsync(content, cancel));

        public Task<ReadOnlyMemory<byte>?> FindAsync(string digest, CancellationToken cancel) => inner.FindAsync(digest, cancel);
    }

    private sealed class FusedRecords<T>(Fuse fuse, IRecordStore<T> inner) : IRecordStore<T>
        where T : class
    {
        public Task<Stored<T>?> FindAsync(string key, CancellationToken cancel) => inner.FindAsync(key, cancel);

        public Task<bool> TryAddAsync(T record, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryAddAsync(record, cancel));

        public Task<bool> TryReplaceAsync(Stored<T> read, T next, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryReplaceAsync(read, next, cancel));

        public Task<bool> TryDeleteAsync(Stored<T> read, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryDeleteAsync(read, cancel));

        public Task<Page<T>> ListAsync(Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(after, limit, cancel);

        public Task<Page<string>> ListKeysAsync(Continuation? after, int limit, CancellationToken cancel) => inner.ListKeysAsync(after, limit, cancel);
    }
}

/// <summary>Questions to a service about the node of the crash tests.</summary>
internal static class CrashQuestions
{
    public static async Task IsAsync(this TestService service, string state, string reason)
    {
        var node = (await service.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["node"]!;
        Assert.Equal(state, node["state"]!.GetValue<string>());
        Assert.Contains(reason, node["reason"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    public static async Task<string[]> EventTypesAsync(this TestService service, string path = "/v1/nodes/node/events") =>
        [.. (await service.Operator.SendAsync("GET", path + "?limit=1000")).Expect(HttpStatusCode.OK)["events"]!.AsArray().Select(e => e!["type"]!.GetValue<string>())];

    public static async Task ToldOnceAsync(this TestService service, params string[] types)
    {
        var told = await service.EventTypesAsync();
        var fleet = await service.EventTypesAsync("/v1/events");
        foreach (var type in types)
        {
            Assert.True(told.Count(t => t == type) == 1, $"{type} is told {told.Count(t => t == type)} times.");
            Assert.True(fleet.Count(t => t == type) == 1, $"{type} is told {fleet.Count(t => t == type)} times of the fleet.");
        }
    }

    public static async Task CountsAgreeAsync(this TestService service)
    {
        var verdicts = (await service.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Expect(HttpStatusCode.OK)["verdicts"]!.AsArray();
        var node = (await service.Operator.SendAsync("GET", "/v1/nodes/node")).Expect(HttpStatusCode.OK)["node"]!;
        Assert.Equal(verdicts.Count, node["attestations"]!.GetValue<int>());
        Assert.InRange(verdicts.Count, 1, 2);
    }
}

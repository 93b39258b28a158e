using Keylime.Functions.Storage;
using Keylime.Protocol;
using Microsoft.Extensions.DependencyInjection;

namespace Keylime.Functions.Tests;

/// <summary>Counts what the stores are told to write, and fails one of it and all that follows, as a process that is killed there would.</summary>
internal sealed class StoreFuse : IFuse
{
    private int _left = int.MaxValue;
    private bool _after;

    public bool Blown { get; private set; }

    public IEnumerable<string> Unconditional => []; // the interfaces leave no other way

    public void Arm(int write, bool after) => (_left, _after) = (write, after);

    public void Install(IServiceCollection services)
    {
        Decorate<INodeStore>(services, inner => new FusedNodes(this, inner));
        Decorate<IVerdictStore>(services, inner => new FusedVerdicts(this, inner));
        Decorate<IEventStore>(services, inner => new FusedEvents(this, inner), StoreServices.EventRows);
        Decorate<IOutbox>(services, inner => new FusedOutbox(this, inner));
        Decorate<IBlobStore>(services, inner => new FusedBlobs(this, inner));
        Records<Registration>();
        Records<PolicyRecord>();
        Records<PolicySignerRecord>();
        Records<CompiledForm>();
        Records<EndorsementOwner>();
        Records<KnownEndorsementKey>();
        Records<TrustedCertificate>();
        Records<EnrolmentRule>();
        Records<AccessToken>();
        Records<TimerState>();
        Records<Webhook>();
        Records<Payload>();
        Records<PayloadShare>();
        Records<PayloadClaim>();
        Records<Release>();
        Records<WrappedMasterKey>();
        Records<NoticeRecord>();
        Records<NoticeClaim>();

        void Records<T>()
            where T : class => Decorate<IRecordStore<T>>(services, inner => new FusedRecords<T>(this, inner));
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

    private static void Decorate<T>(IServiceCollection services, Func<T, T> wrap, string? key = null)
        where T : class
    {
        var inner = services.Last(s => s.ServiceType == typeof(T) && Equals(s.ServiceKey, key));
        services.Remove(inner);
        services.AddKeyedSingleton(key, (p, _) => wrap(inner.IsKeyedService
            ? (T)inner.KeyedImplementationFactory!(p, key)
            : inner.ImplementationInstance as T
                ?? inner.ImplementationFactory?.Invoke(p) as T
                ?? (T)ActivatorUtilities.CreateInstance(p, inner.ImplementationType!)));
    }

    private sealed class FusedNodes(StoreFuse fuse, INodeStore inner) : INodeStore
    {
        public Task<Stored<Node>?> FindAsync(AgentId id, CancellationToken cancel) => inner.FindAsync(id, cancel);

        public Task<Stored<Node>?> TryAddAsync(Node node, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryAddAsync(node, cancel));

        public Task<Stored<Node>?> TryReplaceAsync(Stored<Node> read, Node next, CancellationToken cancel) =>
            fuse.WriteAsync(() => inner.TryReplaceAsync(read, next, cancel));

        public Task<Page<Node>> ListAsync(NodeQuery query, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(query, after, limit, cancel);

        public Task<Page<NodeTimes>> ListTimesAsync(Continuation? after, int limit, CancellationToken cancel) => inner.ListTimesAsync(after, limit, cancel);
    }

    private sealed class FusedVerdicts(StoreFuse fuse, IVerdictStore inner) : IVerdictStore
    {
        public Task<bool> TryAddAsync(VerdictRecord verdict, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryAddAsync(verdict, cancel));

        public Task<VerdictRecord?> FindAsync(AgentId node, long attestation, CancellationToken cancel) => inner.FindAsync(node, attestation, cancel);

        public Task<Page<VerdictRecord>> ListAsync(AgentId node, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(node, after, limit, cancel);

        public Task<IReadOnlyList<VerdictRecord>> ListSinceAsync(AgentId node, long attestation, int limit, CancellationToken cancel) =>
            inner.ListSinceAsync(node, attestation, limit, cancel);

        public Task<VerdictRows> ListUpToAsync(AgentId node, long attestation, int limit, CancellationToken cancel) =>
            inner.ListUpToAsync(node, attestation, limit, cancel);

        public Task DeleteAsync(AgentId node, IReadOnlyList<long> attestations, CancellationToken cancel) => fuse.WriteAsync(async () =>
        {
            await inner.DeleteAsync(node, attestations, cancel);
            return true;
        });
    }

    private sealed class FusedEvents(StoreFuse fuse, IEventStore inner) : IEventStore
    {
        public Task AddAsync(EventRecord happened, CancellationToken cancel) => fuse.WriteAsync(async () =>
        {
            await inner.AddAsync(happened, cancel);
            return true;
        });

        public Task<int> DeleteBeforeAsync(DateTimeOffset before, int limit, CancellationToken cancel) => fuse.WriteAsync(() => inner.DeleteBeforeAsync(before, limit, cancel));

        public Task<bool> IsToldAsync(EventRecord happened, CancellationToken cancel) => inner.IsToldAsync(happened, cancel);

        public Task<Page<EventRecord>> ListAsync(EventQuery query, Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(query, after, limit, cancel);
    }

    private sealed class FusedOutbox(StoreFuse fuse, IOutbox inner) : IOutbox
    {
        public Task<bool> TryAddAsync(Delivery delivery, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryAddAsync(delivery, cancel));

        public Task<Page<Stored<Delivery>>> PendingAsync(string channel, Continuation? after, int limit, CancellationToken cancel) => inner.PendingAsync(channel, after, limit, cancel);

        public Task<OutboxDepth> DepthAsync(string channel, CancellationToken cancel) => inner.DepthAsync(channel, cancel);

        public Task<Stored<Delivery>?> TryReplaceAsync(Stored<Delivery> read, Delivery next, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryReplaceAsync(read, next, cancel));

        public Task<bool> TrySettleAsync(Stored<Delivery> read, Delivery settled, CancellationToken cancel) => fuse.WriteAsync(() => inner.TrySettleAsync(read, settled, cancel));

        public Task<bool> TryDropAsync(Stored<Delivery> read, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryDropAsync(read, cancel));

        public Task<int> DeleteBeforeAsync(string channel, DateTimeOffset before, int limit, CancellationToken cancel) => fuse.WriteAsync(() => inner.DeleteBeforeAsync(channel, before, limit, cancel));

        public Task<Page<Delivery>> LedgerAsync(string channel, Continuation? after, int limit, CancellationToken cancel) => inner.LedgerAsync(channel, after, limit, cancel);
    }

    private sealed class FusedBlobs(StoreFuse fuse, IBlobStore inner) : IBlobStore
    {
        public Task<string> PutAsync(ReadOnlyMemory<byte> content, CancellationToken cancel) => fuse.WriteAsync(() => inner.PutAsync(content, cancel));

        public Task<ReadOnlyMemory<byte>?> FindAsync(string digest, CancellationToken cancel) => inner.FindAsync(digest, cancel);

        public Task<ReadOnlyMemory<byte>?> MapAsync(string digest, CancellationToken cancel) => inner.MapAsync(digest, cancel);
    }

    private sealed class FusedRecords<T>(StoreFuse fuse, IRecordStore<T> inner) : IRecordStore<T>
        where T : class
    {
        public Task<Stored<T>?> FindAsync(string key, CancellationToken cancel) => inner.FindAsync(key, cancel);

        public Task<bool> TryAddAsync(T record, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryAddAsync(record, cancel));

        public Task<bool> TryReplaceAsync(Stored<T> read, T next, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryReplaceAsync(read, next, cancel));

        public Task<bool> TryDeleteAsync(Stored<T> read, CancellationToken cancel) => fuse.WriteAsync(() => inner.TryDeleteAsync(read, cancel));

        public Task<Page<T>> ListAsync(Continuation? after, int limit, CancellationToken cancel) => inner.ListAsync(after, limit, cancel);

        public Task<Page<T>> ListOfAsync(string prefix, Continuation? after, int limit, CancellationToken cancel) => inner.ListOfAsync(prefix, after, limit, cancel);

        public Task<Page<string>> ListKeysAsync(Continuation? after, int limit, CancellationToken cancel) => inner.ListKeysAsync(after, limit, cancel);
    }
}

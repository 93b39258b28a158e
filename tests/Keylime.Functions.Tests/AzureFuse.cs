using System.Collections.Concurrent;
using System.Net;
using Azure.Core.Pipeline;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>
/// Stands between the service and Azure Storage: counts the requests, and fails a write and all that follow. One change of the domain may be several of these:
/// an event is two rows.
/// </summary>
internal sealed class AzureFuse : DelegatingHandler, IFuse
{
    private readonly ConcurrentQueue<string> _unconditional = new();
    private int _left = int.MaxValue;
    private bool _after;
    private AzureAccounts? _accounts;

    private AzureFuse()
    {
    }

    public bool Blown { get; private set; }

    public IEnumerable<string> Unconditional => _unconditional;

    /// <summary>Every request, as method and path with its query.</summary>
    public ConcurrentQueue<string> Seen { get; } = new();

    /// <summary>Not installed with the stores: a message more or less changes nothing, and a test says whether it is about them.</summary>
    public DeliveryQueues Queues => _accounts!.Queues;

    public static async Task<AzureFuse> CreateAsync(AzuriteFixture fixture)
    {
        var fuse = new AzureFuse { InnerHandler = new SocketsHttpHandler() };
        fuse._accounts = await fixture.NewAccountsAsync(1, options => options.Transport = new HttpClientTransport(new HttpClient(fuse, disposeHandler: false)));
        return fuse;
    }

    public void Arm(int write, bool after) => (_left, _after) = (write, after);

    public void Install(IServiceCollection services)
    {
        services.RemoveAll<AzureAccounts>();
        services.AddSingleton(_accounts!);
        services.Replace(ServiceDescriptor.Singleton<INodeStore, AzureNodeStore>());
        services.Replace(ServiceDescriptor.Singleton<IVerdictStore, AzureVerdictStore>());
        services.RemoveAllKeyed<IEventStore>(StoreServices.EventRows);
        services.AddKeyedSingleton<IEventStore, AzureEventStore>(StoreServices.EventRows);
        services.Replace(ServiceDescriptor.Singleton<IOutbox, AzureOutbox>());
        services.Replace(ServiceDescriptor.Singleton<IBlobStore, AzureBlobStore>());
        Records(RecordKinds.Registrations);
        Records(RecordKinds.Policies);
        Records(RecordKinds.EndorsementOwners);
        Records(RecordKinds.KnownEndorsementKeys);
        Records(RecordKinds.TrustedCertificates);
        Records(RecordKinds.EnrolmentRules);
        Records(RecordKinds.AccessTokens);
        Records(RecordKinds.Timers);
        Records(RecordKinds.PolicySigners);
        Records(RecordKinds.CompiledForms);
        Records(RecordKinds.Webhooks);
        Records(RecordKinds.Payloads);
        Records(RecordKinds.PayloadShares);
        Records(RecordKinds.PayloadClaims);
        Records(RecordKinds.Releases);
        Records(RecordKinds.MasterKeys);
        Records(RecordKinds.Notices);
        Records(RecordKinds.NoticeClaims);

        void Records<T>(RecordKind<T> kind)
            where T : class =>
            services.Replace(ServiceDescriptor.Singleton<IRecordStore<T>>(p => new AzureRecordStore<T>(_accounts!, kind, p.GetRequiredService<UnreadableRows>())));
    }

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        Seen.Enqueue($"{request.Method} {Uri.UnescapeDataString(request.RequestUri!.PathAndQuery)}");
        if (request.Method == HttpMethod.Get || request.Method == HttpMethod.Head)
            return await base.SendAsync(request, cancellationToken);

        if (!IsConditional(request))
            _unconditional.Enqueue(Seen.Last());
        var left = Interlocked.Decrement(ref _left);
        if (left < 0 || (left == 0 && !_after))
            return Refuse(request);
        var response = await base.SendAsync(request, cancellationToken);
        if (left > 0)
            return response;
        response.Dispose();
        return Refuse(request);
    }

    // Tables: POST inserts, and is refused where a row is; everything else names the row's ETag. Blobs are written once. Queues: POST puts, and everything else names the receipt of whoever took it last.
    private static bool IsConditional(HttpRequestMessage request) =>
        request.Method == HttpMethod.Post
        || (request.Headers.IfMatch.Count == 1 && request.Headers.IfMatch.Single().Tag != "*")
        || (request.Method == HttpMethod.Put && request.Headers.IfNoneMatch.Count == 1 && request.Headers.IfNoneMatch.Single().Tag == "*")
        || (request.Method == HttpMethod.Put && request.RequestUri!.Query.Contains("restype=container", StringComparison.Ordinal))
        || (request.Method == HttpMethod.Put && request.RequestUri!.AbsolutePath.EndsWith(AzureAccounts.Work, StringComparison.Ordinal))
        || (request.Method == HttpMethod.Put && request.RequestUri!.AbsolutePath.EndsWith(AzureAccounts.Poison, StringComparison.Ordinal))
        || request.RequestUri!.Query.Contains("popreceipt=", StringComparison.Ordinal);

    // A status that nobody tries again.
    private HttpResponseMessage Refuse(HttpRequestMessage request)
    {
        Blown = true;
        return new HttpResponseMessage(HttpStatusCode.Forbidden) { RequestMessage = request, Content = new ByteArrayContent([]) };
    }
}

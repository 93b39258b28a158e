using Azure.Core;
using Azure.Core.Pipeline;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Protocol;
using Microsoft.Extensions.Logging.Abstractions;

namespace Keylime.Functions.Tests;

/// <summary>The contract on tables and blobs of a really started emulator, spread over two accounts; and what only they can get wrong.</summary>
public sealed class AzureStoreTests(AzuriteFixture fixture) : StoreContract, IAsyncLifetime
{
    private readonly UnreadableRows _unreadable = new(TimeProvider.System, NullLogger<UnreadableRows>.Instance);
    private readonly string _folder = Directory.CreateTempSubdirectory("copies-").FullName;
    private AzureAccounts _accounts = null!; // InitializeAsync

    private protected override INodeStore Nodes => new AzureNodeStore(_accounts, _unreadable);

    private protected override IRecordStore<Registration> Registrations => new AzureRecordStore<Registration>(_accounts, RecordKinds.Registrations, _unreadable);

    private protected override IVerdictStore Verdicts => new AzureVerdictStore(_accounts, _unreadable);

    private protected override IEventStore Events => new AzureEventStore(_accounts, _unreadable);

    private protected override IRecordStore<PolicyRecord> Policies => new AzureRecordStore<PolicyRecord>(_accounts, RecordKinds.Policies, _unreadable);

    private protected override IOutbox Outbox => new AzureOutbox(_accounts, _unreadable);

    private protected override IRecordStore<Webhook> Webhooks => new AzureRecordStore<Webhook>(_accounts, RecordKinds.Webhooks, _unreadable);

    private protected override IBlobStore Blobs => new AzureBlobStore(_accounts, new ServiceOptions { Data = _folder, PolicyMemory = 250 }, TimeProvider.System);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => _accounts = await fixture.NewAccountsAsync(2);

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    public async Task A_copy_on_this_machine_is_fetched_once_again_when_it_is_damaged_and_goes_when_there_are_too_many()
    {
        var digests = new List<string>();
        for (byte i = 0; i < 3; i++)
        {
            digests.Add(await Blobs.PutAsync(Enumerable.Repeat(i, 100).ToArray(), Cancel));
            var mapped = (await Blobs.MapAsync(digests[^1], Cancel))!.Value;
            Assert.Equal(i, mapped.Span[99]);
        }

        string CopyOf(int index) => Path.Combine(_folder, "copies", digests[index]);
        Assert.Equal([false, true, true], Enumerable.Range(0, 3).Select(i => File.Exists(CopyOf(i)))); // 250 bytes at most
        await File.WriteAllBytesAsync(CopyOf(2), new byte[100], Cancel);
        Assert.Equal(2, (await Blobs.MapAsync(digests[2], Cancel))!.Value.Span[0]);
        Assert.Equal(2, (await File.ReadAllBytesAsync(CopyOf(2), Cancel))[0]);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(CopyOf(2)));

        // What was copied is used while the store is away, and what was not is not made up.
        var away = new AzureBlobStore(AzureAccounts.Create([AzureAccounts.FromConnectionString("DefaultEndpointsProtocol=http;AccountName=a;AccountKey=AAAA;BlobEndpoint=http://127.0.0.1:1/a;TableEndpoint=http://127.0.0.1:1/a;")]),
            new ServiceOptions { Data = _folder }, TimeProvider.System);
        Assert.NotNull(await away.MapAsync(digests[2], Cancel));
    }

    [Fact]
    public void Ids_spread_evenly_and_move_only_to_a_new_account()
    {
        var connections = fixture.Azurite.NewAccounts(4);
        var three = AzureAccounts.Create(connections[..3].Select(c => AzureAccounts.FromConnectionString(c)));
        var again = AzureAccounts.Create(connections[..3].Reverse().Select(c => AzureAccounts.FromConnectionString(c)));
        var four = AzureAccounts.Create(connections.Select(c => AzureAccounts.FromConnectionString(c)));
        string[] ids = [.. Enumerable.Range(0, 6000).Select(i => $"node-{i}")];
        Assert.All(ids, id => Assert.Equal(three.For(id).Name, again.For(id).Name)); // whatever their order
        Assert.All(ids.GroupBy(id => three.For(id).Name), group => Assert.InRange(group.Count(), 1800, 2200));
        var moved = ids.Where(id => three.For(id).Name != four.For(id).Name).ToArray();
        Assert.InRange(moved.Length, 1300, 1700);
        Assert.All(moved, id => Assert.DoesNotContain(three.All, a => a.Name == four.For(id).Name));
    }

    [Fact]
    public async Task Another_set_of_accounts_than_the_rows_are_spread_over_is_refused()
    {
        var connections = fixture.Azurite.NewAccounts(3);
        await AzureAccounts.Create(connections[..2].Select(c => AzureAccounts.FromConnectionString(c))).PrepareAsync([], Cancel);
        await AzureAccounts.Create(connections[..2].Select(c => AzureAccounts.FromConnectionString(c))).PrepareAsync([], Cancel);
        var refused = await Assert.ThrowsAsync<StorageUnavailableException>(
            () => AzureAccounts.Create(connections.Select(c => AzureAccounts.FromConnectionString(c))).PrepareAsync([], Cancel));
        Assert.Contains("another set", refused.Message, StringComparison.Ordinal);
        Assert.Throws<StorageUnavailableException>(() => AzureAccounts.Create([]));
        Assert.Throws<StorageUnavailableException>(() => AzureAccounts.Create([_accounts.All[0], _accounts.All[0]]));
    }

    [Theory]
    [InlineData(429)]
    [InlineData(500)]
    [InlineData(503)]
    public async Task A_service_that_is_busy_for_a_while_is_asked_again(int status)
    {
        var faults = new Faults();
        var accounts = await fixture.NewAccountsAsync(1, faults.Install);
        var nodes = new AzureNodeStore(accounts, _unreadable);
        faults.Arm(status, times: 3, afterArrival: false);
        var stored = await nodes.TryAddAsync(Sample("a"), Cancel);
        Assert.NotNull(stored);
        faults.Arm(status, times: 3, afterArrival: false);
        Assert.NotNull(await nodes.TryReplaceAsync(stored, stored.Value with { IntervalSeconds = 3 }, Cancel));
        faults.Arm(status, times: 3, afterArrival: false);
        Assert.Equal(3, (await nodes.FindAsync(AgentId.Parse("a"), Cancel))!.Value.IntervalSeconds);
        Assert.Equal(9, faults.Injected);
    }

    [Fact]
    public async Task A_write_whose_answer_was_lost_is_known_again_as_our_own()
    {
        var faults = new Faults();
        var accounts = await fixture.NewAccountsAsync(1, faults.Install);
        var nodes = new AzureNodeStore(accounts, _unreadable);
        faults.Arm(500, times: 1, afterArrival: true); // the row is written; the second try meets it
        var stored = await nodes.TryAddAsync(Sample("a"), Cancel);
        Assert.NotNull(stored);
        faults.Arm(500, times: 1, afterArrival: true);
        var next = await nodes.TryReplaceAsync(stored, stored.Value with { IntervalSeconds = 4 }, Cancel);
        Assert.NotNull(next);
        Assert.NotNull(await nodes.TryReplaceAsync(next, next.Value with { IntervalSeconds = 5 }, Cancel)); // by the ETag that it has
        Assert.Equal(2, faults.Injected);
        Assert.Null(await nodes.TryAddAsync(Sample("a"), Cancel));
    }

    [Fact]
    public async Task A_service_that_stays_away_is_told_as_such()
    {
        var faults = new Faults();
        var accounts = await fixture.NewAccountsAsync(1, faults.Install);
        faults.Arm(503, times: int.MaxValue, afterArrival: false);
        await Assert.ThrowsAsync<StorageUnavailableException>(() => new AzureNodeStore(accounts, _unreadable).FindAsync(AgentId.Parse("a"), Cancel));
        await Assert.ThrowsAsync<StorageUnavailableException>(() => new AzureHealth(accounts).CheckAsync(Cancel));
        await Assert.ThrowsAsync<StorageUnavailableException>(() => new AzureBlobStore(accounts, new ServiceOptions { Data = _folder }, TimeProvider.System).PutAsync(new byte[] { 1 }, Cancel));
    }

    [Fact]
    public async Task A_row_that_cannot_be_read_stops_nobody_else()
    {
        await Nodes.TryAddAsync(Sample("good"), Cancel);
        await Nodes.TryAddAsync(Sample("newer") with { Schema = Node.CurrentSchema + 1 }, Cancel);
        await _accounts.For("bad").Table(AzureAccounts.Nodes).TryAddAsync(AzureTable.Entity(Partitions.Of("bad"), "bad", [0x7b]), Cancel);
        var page = await Nodes.ListAsync(new NodeQuery(Moment.Of(DateTimeOffset.UnixEpoch)), null, 10, Cancel);
        Assert.Equal("good", page.Items.Single().Id.ToString());
        await Assert.ThrowsAsync<UnreadableRowException>(() => Nodes.FindAsync(AgentId.Parse("bad"), Cancel));
        await _unreadable.TellAsync(Events, Cancel);
        Assert.Equal(2, (await Events.ListAsync(new EventQuery(EventRecord.Service), null, 10, Cancel)).Items.Count);
    }

    [Fact]
    public void Which_account_has_an_id_is_the_same_for_ever()
    {
        // Worked out beside this program. Rows are where these say: a change here loses them.
        var accounts = AzureAccounts.Create(((string[])["keylimec", "keylimea", "keylimeb"]).Select(name => AzureAccounts.FromConnectionString(
            $"DefaultEndpointsProtocol=https;AccountName={name};AccountKey=AAAA;EndpointSuffix=core.windows.net")));
        Assert.Equal("keylimeb", accounts.For("node-0").Name);
        Assert.Equal("keylimea", accounts.For("node-1").Name);
        Assert.Equal("keylimea", accounts.For("d432fbb3-d2f1-4a97-9ef7-75bd81c0de01").Name);
        Assert.Equal("keylimec", accounts.For("registrations").Name);
        Assert.Equal("keylimea", accounts.For("~7").Name);
    }

    [Fact]
    public async Task A_verdict_that_cannot_be_read_is_left_out_of_the_history_and_pages_go_on()
    {
        await Verdicts.TryAddAsync(Verdict("a", 1, "pass"), Cancel);
        await Verdicts.TryAddAsync(Verdict("a", 2, "pass"), Cancel);
        foreach (var row in (string[])["0000000000000000000", "5", "of somebody else"])
            await _accounts.For("a").Table(AzureAccounts.Verdicts).TryAddAsync(AzureTable.Entity("a", row, [0x7b]), Cancel);
        var (seen, left) = (new List<long>(), 0);
        Continuation? after = null;
        do
        {
            var page = await Verdicts.ListAsync(AgentId.Parse("a"), after, 1, Cancel);
            seen.AddRange(page.Items.Select(v => v.Message.Attestation));
            left += page.Unreadable;
            after = page.Next;
        }
        while (after is not null);
        Assert.Equal([2, 1], seen);
        Assert.Equal(3, left);
        await _unreadable.TellAsync(Events, Cancel);
        Assert.Equal(3, (await Events.ListAsync(new EventQuery(EventRecord.Service), null, 10, Cancel)).Items.Count);
    }

    [Fact]
    public async Task A_service_that_ends_its_pages_early_is_asked_on()
    {
        var faults = new Faults { MostRows = 3 };
        var accounts = await fixture.NewAccountsAsync(2, faults.Install);
        var nodes = new AzureNodeStore(accounts, _unreadable);
        foreach (var i in Enumerable.Range(0, 23))
            Assert.NotNull(await nodes.TryAddAsync(Sample($"node-{i}"), Cancel));
        faults.Seen.Clear();
        var page = await nodes.ListAsync(new NodeQuery(Moment.Of(DateTimeOffset.UnixEpoch), Protocol.Api.NodeState.Pending), null, 1000, Cancel);
        Assert.Equal(23, page.Items.Select(n => n.Id).Distinct().Count());
        Assert.Null(page.Next);
        Assert.InRange(faults.Seen.Count, 8, 12);
        Assert.Contains(faults.Seen, r => r.Contains("NextRowKey=", StringComparison.Ordinal)); // by the service's own token
    }

    [Fact]
    public async Task Tries_are_spread_and_none_comes_before_the_service_says()
    {
        RetryOptions? used = null;
        var faults = new Faults { RetryAfterSeconds = 1 };
        var accounts = await fixture.NewAccountsAsync(1, options =>
        {
            used = options.Retry;
            faults.InstallTransport(options);
        });
        Assert.Equal((RetryMode.Exponential, 5), (used!.Mode, used.MaxRetries));

        // What that mode makes of our pauses: doubled, and each another one.
        var delays = DelayStrategy.CreateExponentialDelayStrategy(used.Delay, used.MaxDelay);
        foreach (var attempt in (int[])[1, 2, 3])
        {
            var pauses = Enumerable.Range(0, 50).Select(_ => delays.GetNextDelay(null, attempt)).ToArray();
            var middle = used.Delay * Math.Pow(2, attempt - 1);
            Assert.All(pauses, pause => Assert.InRange(pause, middle * 0.79, middle * 1.21));
            Assert.InRange(pauses.Distinct().Count(), 25, 50);
        }

        var start = TimeProvider.System.GetTimestamp();
        faults.Arm(503, times: 1, afterArrival: false);
        await new AzureNodeStore(accounts, _unreadable).FindAsync(AgentId.Parse("a"), Cancel);
        Assert.InRange(TimeProvider.System.GetElapsedTime(start), TimeSpan.FromSeconds(0.98), TimeSpan.MaxValue);
    }

    [Fact]
    public async Task The_hot_path_is_point_reads_and_a_listing_filters_at_the_service()
    {
        var requests = new Faults();
        var accounts = await fixture.NewAccountsAsync(1, requests.Install);
        var nodes = new AzureNodeStore(accounts, _unreadable);
        await nodes.TryAddAsync(Sample("a"), Cancel);
        requests.Seen.Clear();
        await nodes.FindAsync(AgentId.Parse("a"), Cancel);
        Assert.Contains($"PartitionKey='{Partitions.Of("a")}',RowKey='a'", Uri.UnescapeDataString(Assert.Single(requests.Seen)), StringComparison.Ordinal);
        requests.Seen.Clear();
        await nodes.ListAsync(new NodeQuery(Moment.Of(DateTimeOffset.UnixEpoch), Protocol.Api.NodeState.Late), null, 10, Cancel);
        Assert.Contains("$filter=Retired eq false and Verdict eq 1 and LateAt le ", Uri.UnescapeDataString(Assert.Single(requests.Seen)), StringComparison.Ordinal);
    }

    /// <summary>Answers in the place of the service, before a request goes out or when its real answer is back.</summary>
    private sealed class Faults : DelegatingHandler
    {
        private int _left;
        private int _status;
        private bool _after;

        public int Injected { get; private set; }

        /// <summary>Pages end here, whatever was asked for.</summary>
        public int? MostRows { get; init; }

        public int? RetryAfterSeconds { get; init; }

        public List<string> Seen { get; } = [];

        public void Install(ClientOptions options)
        {
            options.Retry.Delay = TimeSpan.FromMilliseconds(1);
            InstallTransport(options);
        }

        public void InstallTransport(ClientOptions options)
        {
            InnerHandler ??= new SocketsHttpHandler();
            options.Transport = new HttpClientTransport(new HttpClient(this, disposeHandler: false));
        }

        public void Arm(int status, int times, bool afterArrival) => (_status, _left, _after) = (status, times, afterArrival);

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (MostRows is { } most && request.RequestUri!.Query.Contains("$top=", StringComparison.Ordinal))
                request.RequestUri = new Uri(System.Text.RegularExpressions.Regex.Replace(request.RequestUri.AbsoluteUri, @"\$top=\d+", $"$$top={most}"));
            Seen.Add(request.RequestUri!.ToString());
            var fault = _left > 0;
            var response = !fault || _after ? await base.SendAsync(request, cancellationToken) : null;
            if (!fault)
                return response!;
            response?.Dispose();
            _left--;
            Injected++;
            var refusal = new HttpResponseMessage((System.Net.HttpStatusCode)_status) { RequestMessage = request, Content = new ByteArrayContent([]) };
            if (RetryAfterSeconds is { } seconds)
                refusal.Headers.RetryAfter = new System.Net.Http.Headers.RetryConditionHeaderValue(TimeSpan.FromSeconds(seconds));
            return refusal;
        }
    }
}

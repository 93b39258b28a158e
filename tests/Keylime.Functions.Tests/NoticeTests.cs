using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Notices;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Protocol.Notices;

namespace Keylime.Functions.Tests;

/// <summary>What machines are told of each other: in order, each once, signed, and nobody misses one without being told.</summary>
public sealed class NoticeTests(AzuriteFixture fixture)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_agent_hears_of_another_machine_in_the_answer_to_its_own_evidence_and_can_verify_it_with_the_key_that_operators_get()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "good");
        using var other = await TestAgent.EnrolledAsync(service, "bad");
        await other.MeasureAsync("/opt/secret/customer");

        var start = await AttestAsync(agent, NoticeBatch.FromNowOn);
        Assert.Equal("""{"notices":[],"notices_next":0}""", Without(start, "seconds_to_next_attestation"));
        Assert.Equal("fail", (await other.AttestAsync())["evaluation"]!.GetValue<string>());
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));

        var told = await AttestAsync(agent, 0);
        Assert.Equal(1, told["notices_next"]!.GetValue<long>());
        var text = Assert.Single(told["notices"]!.AsArray())!.GetValue<string>();
        using var key = await KeyAsync(service);
        Assert.True(SignedNotice.TryOpen(text, [key], out var head, out var json, out var why), why);
        var notice = System.Text.Json.JsonSerializer.Deserialize(json, NoticeJson.Default.Notice)!;
        Assert.Equal(new NoticeHead(1, "node.failed", "bad"), head);
        Assert.Equal((1, "node.failed", "bad"), (notice.Number, notice.Type, notice.Node));
        Assert.Equal(("revocation", "bad", "runtime.not_in_policy"), (notice.Revocation!.Type, notice.Revocation.AgentId, notice.Revocation.EventId.Replace("ima.", "runtime.", StringComparison.Ordinal)));
        Assert.DoesNotContain("customer", Encoding.UTF8.GetString(json), StringComparison.Ordinal); // what is on a machine is no other machine's affair

        // The same text by hand, as RFC 7515 and 7518 have it.
        var parts = text.Split('.');
        Assert.True(key.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), System.Buffers.Text.Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256));
        Assert.Equal("ES256", JsonNode.Parse(System.Buffers.Text.Base64Url.DecodeFromChars(parts[0]))!["alg"]!.GetValue<string>());

        using var stranger = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Assert.False(SignedNotice.TryOpen(text, [stranger], out _, out _, out _));
        var altered = parts[1][..^4] + (parts[1][^4] == 'A' ? 'B' : 'A') + parts[1][^3..];
        Assert.False(SignedNotice.TryOpen($"{parts[0]}.{altered}.{parts[2]}", [key], out _, out _, out _));
        var none = System.Buffers.Text.Base64Url.EncodeToString("""{"alg":"none","typ":"keylime-notice","kid":"a"}"""u8);
        Assert.False(SignedNotice.TryOpen($"{none}.{parts[1]}.", [key], out _, out _, out _));

        // Upstream's agents ask for nothing, and get nothing that they do not know.
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        Assert.Equal("{}", Without((await SubmitAsync(agent, null)).Expect(HttpStatusCode.Accepted)["meta"]!.AsObject(), "seconds_to_next_attestation"));
    }

    [Fact]
    public async Task What_an_operator_decides_is_told_too_and_silence_is_not()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await agent.AttestAsync();
        service.Clock.Advance(TimeSpan.FromDays(2));
        await service.Get<Sweep>().RunAsync(Cancel);
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/retire")).Expect(HttpStatusCode.OK);
        (await service.Operator.SendAsync("POST", "/v1/nodes/node/reactivate")).Expect(HttpStatusCode.OK);
        Assert.Contains("node.silent", await service.EventTypesAsync("/v1/events"));
        Assert.Equal(["2 node.reactivated node", "1 node.retired node"], await ListAsync(service));
        Assert.Equal([EventTypes.NodeFailed, EventTypes.NodeRecovered, EventTypes.NodeRetired, EventTypes.NodeReactivated], NoticeTypes.All);
    }

    [Fact]
    public async Task The_tool_lists_notices_and_prints_the_key_as_agents_want_it()
    {
        await using var service = await TestService.StartAsync();
        using var tool = new OperatorTool(service);
        await service.HappenAsync("one", EventTypes.NodeFailed);
        await service.HappenAsync("two", EventTypes.NodeRetired);
        Assert.Matches("2 +20[^ ]+ [^ ]+ +node.retired +two +yes", await tool.DoAsync("notice", "list"));
        Assert.Equal(2, JsonNode.Parse(await tool.DoAsync("notice", "list", "--limit", "1", "--json"))!["notices"]!.AsArray().Single()!["notice"]!["number"]!.GetValue<int>());
        using var pem = ECDsa.Create();
        pem.ImportFromPem(await tool.DoAsync("notice", "key"));
        using var key = await KeyAsync(service);
        Assert.Equal(key.ExportSubjectPublicKeyInfo(), pem.ExportSubjectPublicKeyInfo());
        Assert.Equal(0, (await tool.RunAsAsync("auditor", "notice", "key", "--json")).Exit);
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("azure")]
    public async Task Many_at_once_from_two_instances_have_one_number_each_and_no_gap(string store)
    {
        const int events = 30;
        using var fuse = store == "azure" ? await AzureFuse.CreateAsync(fixture) : null;
        await using var service = await TestService.StartAsync(fuse is null ? null : fuse.Install);
        var instances = Enumerable.Range(0, 2).Select(_ => Posting(service)).ToArray();

        // Each event by both, at the same time, twice.
        var happened = Enumerable.Range(0, events).Select(i => EventRecord.Of(AgentId.Parse($"n{i}"), service.Clock.GetUtcNow(), EventTypes.NodeFailed, "x", i)).ToArray();
        for (var round = 0; round < 2; round++)
            await Task.WhenAll(happened.SelectMany((e, i) => instances.Select((_, j) => instances[(i + j) % 2].PostAsync(e, Cancel))));

        var all = await service.Get<IRecordStore<NoticeRecord>>().AllAsync(Cancel);
        Assert.Equal(Enumerable.Range(1, events).Select(static i => (long)i), all.Select(static n => n.Number).Reverse());
        Assert.Equal(events, all.Select(static n => n.Notice.Id).Distinct().Count());
        Assert.All(all, static n => Assert.NotNull(n.Signed));
        Assert.Empty(fuse?.Unconditional ?? []);
        foreach (var posting in instances)
            posting.Dispose();
    }

    [Theory]
    [InlineData("sqlite")]
    [InlineData("azure")]
    public async Task Who_is_behind_catches_up_sixteen_at_a_time_however_far_it_is(string store)
    {
        const int notices = 1100; // more than an instance has in memory
        using var fuse = store == "azure" ? await AzureFuse.CreateAsync(fixture) : null;
        await using var service = await TestService.StartAsync(fuse is null ? null : fuse.Install);
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await AddAsync(service, 1, notices);

        var (after, seen) = (0L, new List<long>());
        while (await AskAsync(agent, after) is { Notices: { Count: > 0 } some } batch)
        {
            Assert.InRange(some.Count, 1, 16);
            seen.AddRange(some.Select(static t => long.Parse(t, System.Globalization.CultureInfo.InvariantCulture)));
            after = batch.Next;
        }

        Assert.Equal(Enumerable.Range(1, notices).Select(static i => (long)i), seen);
        Assert.Equal(notices, (await AskAsync(agent, NoticeBatch.FromNowOn)).Next);
    }

    [Fact]
    public async Task What_is_not_kept_any_more_and_what_never_was_is_said_to_be_lost()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        await AddAsync(service, 1, 40); // those between matter to nobody here
        await AddAsync(service, NoticeBoard.Kept + 1, NoticeBoard.Kept + 20);
        await service.Get<NoticePosting>().TrimAsync(Cancel);
        await service.Get<NoticePosting>().TrimAsync(Cancel); // twice is as good as once
        Assert.Equal([.. Enumerable.Range(NoticeBoard.Kept + 1, 20), .. Enumerable.Range(21, 20)], (await service.Get<IRecordStore<NoticeRecord>>().AllAsync(Cancel)).Select(static n => (int)n.Number).Order().OrderBy(static n => n <= 40));

        var behind = await AskAsync(agent, 3);
        Assert.True(behind.Lost);
        Assert.Equal(Enumerable.Range(21, 16).Select(static i => $"{i}"), behind.Notices);
        Assert.Equal(36, behind.Next);
        Assert.False((await AskAsync(agent, 20)).Lost);

        var ahead = await AskAsync(agent, NoticeBoard.Kept + 21);
        Assert.True(ahead is { Lost: true, Notices.Count: 0, Next: NoticeBoard.Kept + 20 });

        // The next number is the next one.
        await service.HappenAsync("x", EventTypes.NodeFailed);
        Assert.StartsWith($"{NoticeBoard.Kept + 21} ", (await ListAsync(service))[0], StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_instance_that_has_not_seen_the_newest_yet_does_not_call_it_lost()
    {
        await using var one = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(one, "node");
        await one.HappenAsync("x", EventTypes.NodeFailed);
        await using var other = await TestService.StartAsync(folder: one.Folder, clock: one.Clock);
        using var there = agent.At(other);
        there.Token = agent.Token;
        Assert.Equal(1, (await AskAsync(there, NoticeBatch.FromNowOn)).Next);
        await one.HappenAsync("y", EventTypes.NodeFailed);
        Assert.Equal(2, (await AskAsync(agent, 1)).Next);
        Assert.True(await AskAsync(there, 2) is { Lost: false, Notices.Count: 0, Next: 2 }); // its memory ends with 1
        Assert.True(await AskAsync(there, 3) is { Lost: true });
    }

    [Fact]
    public async Task A_vault_that_does_not_answer_holds_up_notices_and_no_verdict()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        using var other = await TestAgent.EnrolledAsync(service, "bad");
        await service.HappenAsync("first", EventTypes.NodeRetired);
        var key = Assert.Single(Directory.GetFiles(Path.Combine(service.Folder, "keys", "vault"), "sign-*"));
        var good = await File.ReadAllBytesAsync(key, Cancel);
        await File.WriteAllTextAsync(key, "no key", Cancel);
        await other.MeasureAsync("/opt/unknown");
        Assert.Equal("fail", (await other.AttestAsync())["evaluation"]!.GetValue<string>());
        Assert.Equal("failed", (await other.NodeAsync())["node"]!["state"]!.GetValue<string>());
        Assert.Equal(["2 node.failed bad (not signed)", "1 node.retired first"], await ListAsync(service));
        Assert.True(await AskAsync(agent, 0) is { Notices.Count: 1, Next: 1, Lost: false });

        await File.WriteAllBytesAsync(key, good, Cancel);
        service.Clock.Advance(TimeSpan.FromSeconds(6));
        Assert.True(await AskAsync(agent, 1) is { Notices.Count: 1, Next: 2 });
        Assert.Equal(["2 node.failed bad", "1 node.retired first"], await ListAsync(service));
    }

    [Fact]
    public async Task A_number_that_cannot_be_is_refused_before_the_challenge_is_spent()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        foreach (var bad in (JsonNode[])[-2, "1", 1.5])
        {
            var refused = await SubmitAsync(agent, bad);
            Assert.Equal(HttpStatusCode.BadRequest, refused.Status);
            Assert.Contains("notices_after", refused.Text, StringComparison.Ordinal);
        }

        foreach (var bad in (string[])["-2", "x", "1.5", "99999999999999999999"])
            Assert.Equal(HttpStatusCode.BadRequest, (await service.Anonymous.SendAsync("GET", $"/v3.0/agents/node/notices?after={bad}", token: agent.Token)).Status);
        Assert.Equal(0, (await AttestAsync(agent, 0))["notices_next"]!.GetValue<long>());
    }

    [Fact]
    public async Task An_agent_that_asks_costs_no_request_at_the_store_while_what_is_known_is_fresh()
    {
        using var fuse = await AzureFuse.CreateAsync(fixture);
        await using var service = await TestService.StartAsync(fuse.Install);
        using var agent = new TestAgent(service, "node");
        await agent.Ima.StartAsync(Cancel);
        await agent.EnrolAsync(interval: 1);
        await agent.AuthenticateAsync();
        await service.HappenAsync("other", EventTypes.NodeFailed);
        Assert.Equal(1, (await AttestAsync(agent, 0))["notices_next"]!.GetValue<long>());
        service.Clock.Advance(TimeSpan.FromSeconds(1));
        fuse.Seen.Clear();
        Assert.Equal(1, (await AttestAsync(agent, 0))["notices_next"]!.GetValue<long>());
        Assert.Equal(5, fuse.Seen.Count); // as many as without
        Assert.DoesNotContain(fuse.Seen, static r => r.Contains("notice", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Rows_are_read_as_they_were_first_written()
    {
        // A test that has to change them has broken a promise.
        var rows = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "rows", "notices-1.json"), Cancel))!;
        var notice = Read(RecordKinds.Notices, "notice");
        Assert.Equal((12, "rows-node", "ima.not_in_policy"), (notice.Number, notice.Notice.Node, notice.Notice.Revocation!.EventId));
        Assert.Equal(11, Read(RecordKinds.NoticeClaims, "claim").After);
        Assert.StartsWith(NoticeRecord.KeyPrefix, NoticeRecord.KeyOf(1_000_000_000_000), StringComparison.Ordinal);

        T Read<T>(RecordKind<T> kind, string name)
            where T : class
        {
            var codec = new RowCodec<T>(kind.Type, kind.Schema, kind.Newest, new UnreadableRows(TimeProvider.System, Microsoft.Extensions.Logging.Abstractions.NullLogger<UnreadableRows>.Instance));
            var read = codec.Decode(name, Encoding.UTF8.GetBytes(rows[name]!.ToJsonString()));
            Assert.True(JsonNode.DeepEquals(rows[name], JsonNode.Parse(codec.Encode(read))), name);
            return read;
        }
    }

    private static NoticePosting Posting(TestService service)
    {
        var notices = service.Get<IRecordStore<NoticeRecord>>();
        return new NoticePosting(notices, service.Get<IRecordStore<NoticeClaim>>(), service.Get<NoticeSigner>(), new NoticeBoard(notices, service.Get<NoticeSigner>(), service.Clock));
    }

    // Their text is their number alone: nobody here verifies them.
    private static async Task AddAsync(TestService service, int from, int to)
    {
        var store = service.Get<IRecordStore<NoticeRecord>>();
        await Parallel.ForEachAsync(Enumerable.Range(from, to - from + 1), Cancel, async (i, cancel) => Assert.True(await store.TryAddAsync(
            new NoticeRecord { Notice = new Notice(i, $"evt_{i}", EventTypes.NodeFailed, "x", service.Clock.GetUtcNow()), Signed = $"{i}" }, cancel)));
        service.Get<NoticeBoard>().Forget();
    }

    private static async Task<NoticeBatch> AskAsync(TestAgent agent, long after) => System.Text.Json.JsonSerializer.Deserialize(
        (await agent.Service.Anonymous.SendAsync("GET", $"/v3.0/agents/{agent.Id}/notices?after={after}", token: agent.Token)).Expect(HttpStatusCode.OK).ToJsonString(), NoticeBatchJson.Default.NoticeBatch)!;

    private static async Task<JsonObject> AttestAsync(TestAgent agent, long after) => (await SubmitAsync(agent, after)).Expect(HttpStatusCode.Accepted)["meta"]!.AsObject();

    private static async Task<Reply> SubmitAsync(TestAgent agent, JsonNode? after)
    {
        var asked = await agent.AskedAsync();
        var document = TestAgent.Document("attestation", new JsonObject { ["evidence_collected"] = agent.Collect(asked).ToJson()["data"]!["attributes"]!["evidence_collected"]!.DeepClone() });
        if (after is not null)
            document["meta"] = new JsonObject { ["notices_after"] = after };
        return await agent.Service.Anonymous.SendAsync("PATCH", asked.Location, document, Http.JsonApi, agent.Token);
    }

    private static string Without(JsonObject meta, string member)
    {
        meta.Remove(member);
        return meta.ToJsonString();
    }

    private static async Task<ECDsa> KeyAsync(TestService service)
    {
        var key = ECDsa.Create();
        key.ImportSubjectPublicKeyInfo(Convert.FromBase64String((await service.Operator.SendAsync("GET", "/v1/notices/key")).Expect(HttpStatusCode.OK)["publicKey"]!.GetValue<string>()), out _);
        return key;
    }

    private static async Task<string[]> ListAsync(TestService service) =>
        [.. (await service.Operator.SendAsync("GET", "/v1/notices")).Expect(HttpStatusCode.OK)["notices"]!.AsArray().Select(static n =>
            $"{n!["notice"]!["number"]} {n["notice"]!["type"]} {n["notice"]!["node"]}{(n["isSigned"]!.GetValue<bool>() ? "" : " (not signed)")}")];
}

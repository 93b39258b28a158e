namespace Keylime.Functions.Tests;

/// <summary>What an attestation costs at Azure Storage, request by request.</summary>
public sealed class AzureHotPathTests(AzuriteFixture fixture)
{
    [Fact]
    public async Task An_attestation_in_steady_state_reads_single_rows_and_writes_three()
    {
        using var fuse = await AzureFuse.CreateAsync(fixture);
        await using var service = await TestService.StartAsync(fuse.Install);
        // Who would be told of a failure costs nothing while there is none.
        (await service.Operator.SendAsync("PUT", "/v1/webhooks/w", """{"url":"https://127.0.0.1:1/","events":["node.failed"]}""")).Expect(System.Net.HttpStatusCode.OK);
        using var agent = new TestAgent(service, "node");
        await agent.Ima.StartAsync(TestContext.Current.CancellationToken);
        await agent.EnrolAsync(interval: 1); // so that the clock wakes no timer of the service
        await agent.AuthenticateAsync();
        await agent.AttestAsync();
        service.Clock.Advance(TimeSpan.FromSeconds(1));

        fuse.Seen.Clear();
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());

        var requests = fuse.Seen.ToArray();
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join('\n', requests));
        // Its row for the question and for the answer. Which text the policy's name stands for was known a second ago; the text is in memory.
        var reads = requests.Where(static r => r.StartsWith("GET ", StringComparison.Ordinal)).ToArray();
        Assert.All(reads, static r => Assert.Matches(@"/keylimenodes\(PartitionKey='[^']+',RowKey='node'\)", r));
        Assert.Equal(2, reads.Length);
        // The challenge, the verdict, the node's row.
        Assert.Equal(["PUT nodes", "POST verdicts", "PUT nodes"], requests.Where(static r => !r.StartsWith("GET ", StringComparison.Ordinal)).Select(static r => $"{r.Split(' ')[0]} {(r.Contains("verdicts", StringComparison.Ordinal) ? "verdicts" : "nodes")}"));
        Assert.Empty(fuse.Unconditional);
    }

    [Fact]
    public async Task One_request_that_answers_what_was_asked_in_advance_reads_one_row_and_writes_two_none_of_them_shared()
    {
        using var fuse = await AzureFuse.CreateAsync(fixture);
        await using var service = await TestService.StartAsync(fuse.Install);
        using var agent = new TestAgent(service, "node");
        await agent.Ima.StartAsync(TestContext.Current.CancellationToken);
        await agent.EnrolAsync(interval: 4); // the clock wakes no timer of the service
        await agent.AuthenticateAsync();
        var asked = await agent.AttestAndGoOnAsync();
        agent.Wait(TimeSpan.FromSeconds(4));

        fuse.Seen.Clear();
        var reply = await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked));
        Assert.Equal("pass", reply.Expect(System.Net.HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
        Assert.NotNull(TestAgent.Next(reply));
        Assert.Collection(
            fuse.Seen,
            static r => Assert.Matches(@"^GET .*/keylimenodes\(PartitionKey='[^']+',RowKey='node'\)", r),
            static r => Assert.Matches("^POST .*/keylimeverdicts", r), // its partition is this node's own
            static r => Assert.Matches(@"^PUT .*/keylimenodes\(PartitionKey='[^']+',RowKey='node'\)", r));
        Assert.Empty(fuse.Unconditional);
    }
}

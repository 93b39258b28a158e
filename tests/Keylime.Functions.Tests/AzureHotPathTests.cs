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
        // Its row for the question and for the answer; which text the policy's name stands for. The text itself is in memory.
        var reads = requests.Where(static r => r.StartsWith("GET ", StringComparison.Ordinal)).ToArray();
        Assert.All(reads, static r => Assert.Matches(@"/keylime(nodes|policies)\(PartitionKey='[^']+',RowKey='node'\)", r));
        Assert.Equal(3, reads.Length);
        // The challenge, the verdict, the node's row.
        Assert.Equal(["PUT nodes", "POST verdicts", "PUT nodes"], requests.Where(static r => !r.StartsWith("GET ", StringComparison.Ordinal)).Select(static r => $"{r.Split(' ')[0]} {(r.Contains("verdicts", StringComparison.Ordinal) ? "verdicts" : "nodes")}"));
        Assert.Empty(fuse.Unconditional);
    }
}

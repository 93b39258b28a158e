using System.Net;
using System.Text;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>Evidence that is not what was asked for: a status, or a failed attestation with its finding. Never a pass, never nothing.</summary>
public sealed class BadEvidenceTests
{
    [Fact]
    public async Task A_quote_by_another_key() =>
        await FailsAsync("quote.signature_invalid", (agent, asked, evidence) =>
        {
            using var other = new SoftwareTpm();
            CopyPcrs(agent.Tpm, other);
            var (message, signature, pcrs) = other.Quote(asked.Nonce, asked.Selection);
            return evidence with { Message = message, Signature = signature, Pcrs = pcrs };
        });

    [Fact]
    public async Task A_wrong_nonce() =>
        await FailsAsync("quote.nonce_mismatch", (agent, asked, evidence) => Quoted(agent, new byte[32], asked.Selection, evidence));

    [Fact]
    public async Task Fewer_PCRs() =>
        await FailsAsync("quote.selection_mismatch", (agent, asked, evidence) =>
            Quoted(agent, asked.Nonce, new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0)), evidence));

    [Fact]
    public async Task Another_bank() =>
        await FailsAsync("quote.selection_mismatch", (agent, asked, evidence) =>
            Quoted(agent, asked.Nonce, new PcrSelection(TpmAlgorithm.Sha1, PcrSet.Of(10)), evidence));

    [Fact]
    public async Task No_PCRs_at_all() =>
        await FailsAsync("quote.selection_mismatch", (agent, asked, evidence) =>
        {
            var (message, signature, _) = agent.Tpm.Quote(asked.Nonce, new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of()));
            return evidence with { Message = message, Signature = signature };
        });

    [Fact]
    public async Task A_structure_that_is_no_quote() =>
        await FailsAsync("quote.malformed", (agent, asked, evidence) =>
        {
            var (message, signature) = agent.Tpm.Certify(asked.Nonce);
            return evidence with { Message = message, Signature = signature };
        });

    [Fact]
    public async Task PCR_values_that_do_not_match() =>
        await FailsAsync("quote.pcr_mismatch", (agent, _, evidence) => evidence with { Pcrs = Flip(evidence.Pcrs, evidence.Pcrs.AsSpan().IndexOf(agent.Tpm.Read(TpmAlgorithm.Sha256, 10))) });

    [Fact]
    public async Task A_line_left_out() =>
        await FailsAsync("ima.pcr_mismatch", (_, _, evidence) => evidence with { Lines = WithoutLine(evidence.Lines!, 2) });

    [Fact]
    public async Task Lines_in_another_order() =>
        await FailsAsync("ima.pcr_mismatch", (_, _, evidence) =>
        {
            var lines = Lines(evidence.Lines!);
            (lines[1], lines[2]) = (lines[2], lines[1]);
            return evidence with { Lines = Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n") };
        });

    [Fact]
    public async Task A_line_put_in() =>
        await FailsAsync("ima.pcr_mismatch", (_, _, evidence) =>
        {
            var lines = Lines(evidence.Lines!);
            lines.Insert(2, lines[1]);
            return evidence with { Lines = Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n") };
        });

    [Fact]
    public async Task A_broken_line() =>
        await FailsAsync("ima.line_malformed", (_, _, evidence) => evidence with { Lines = [.. "10 nonsense\n"u8, .. evidence.Lines!] });

    [Fact]
    public async Task An_empty_list() =>
        await FailsAsync("ima.pcr_mismatch", (_, _, evidence) => evidence with { Lines = [] });

    [Fact]
    public async Task A_flipped_bit_anywhere_is_a_failed_attestation()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var random = new Random(7);
        for (var i = 0; i < 40; i++)
        {
            var asked = await agent.AskedAsync();
            var evidence = agent.Collect(asked);
            var part = i % 4;
            var length = new[] { evidence.Message.Length, evidence.Signature.Length, evidence.Pcrs.Length, evidence.Lines!.Length }[part];
            var at = random.Next(length * 8);
            var altered = part switch
            {
                0 => evidence with { Message = Flip(evidence.Message, at / 8, at % 8) },
                1 => evidence with { Signature = Flip(evidence.Signature, at / 8, at % 8) },
                2 => evidence with { Pcrs = Flip(evidence.Pcrs, at / 8, at % 8) },
                _ => evidence with { Lines = Flip(evidence.Lines, at / 8, at % 7) }, // stays ASCII, as JSON needs
            };
            var attributes = (await agent.SubmitAsync(asked, altered)).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!;
            Assert.True(attributes["evaluation"]!.GetValue<string>() == "fail", $"part {part}, bit {at}");
            Assert.NotEmpty(attributes["findings"]!.AsArray());
            service.Clock.Advance(TimeSpan.FromSeconds(60));
            await agent.AuthenticateAsync(); // failed attestations do not prolong a token
        }
    }

    [Fact]
    public async Task A_nonce_works_once()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        var evidence = agent.Collect(asked);
        (await agent.SubmitAsync(asked, evidence)).Expect(HttpStatusCode.Accepted);

        var again = await agent.SubmitAsync(asked, evidence);
        Assert.Equal(HttpStatusCode.Forbidden, again.Status);
        Assert.Equal("evidence_immutable", Code(again));

        // The old quote is no answer to the next challenge.
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        var next = await agent.AskedAsync();
        Assert.NotEqual(asked.Nonce, next.Nonce);
        var judged = (await agent.SubmitAsync(next, evidence)).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!;
        Assert.Equal("fail", judged["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task An_expired_challenge_and_one_that_a_newer_replaced()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var old = await agent.AskedAsync();
        var latest = await agent.AskedAsync();
        Assert.Equal("old_attestation", Code(await agent.SubmitAsync(old, agent.Collect(old))));

        service.Clock.Advance(TimeSpan.FromSeconds(1801));
        await agent.AuthenticateAsync();
        Assert.Equal("challenges_expired", Code(await agent.SubmitAsync(latest, agent.Collect(latest))));
        Assert.Equal("pending", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
    }

    [Fact]
    public async Task Two_answers_to_one_challenge_at_once_cannot_both_win()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        for (var round = 0; round < 5; round++)
        {
            var asked = await agent.AskedAsync();
            var evidence = agent.Collect(asked);
            var replies = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => agent.SubmitAsync(asked, evidence)));
            Assert.Single(replies, r => r.Status == HttpStatusCode.Accepted);
            Assert.All(replies.Where(r => r.Status != HttpStatusCode.Accepted), r => Assert.Equal("evidence_immutable", Code(r)));
            Assert.Equal(round + 1, (await agent.NodeAsync())["node"]!["attestations"]!.GetValue<long>());
            service.Clock.Advance(TimeSpan.FromSeconds(60));
        }
    }

    [Theory]
    [InlineData("""{"data":{"type":"attestation","attributes":{"evidence_collected":[]}}}""", HttpStatusCode.UnprocessableEntity)]
    [InlineData("""{"data":{"type":"attestation","attributes":{}}}""", HttpStatusCode.BadRequest)]
    [InlineData("""{"data":{"type":"error","attributes":{"evidence_collected":[]}}}""", HttpStatusCode.BadRequest)]
    [InlineData("""{"data":{"type":"attestation","attributes":{"evidence_collected":[{"evidence_class":"certification","evidence_type":"tpm_quote"},{"evidence_class":"log","evidence_type":"ima_log"}]}}}""", HttpStatusCode.UnprocessableEntity)]
    [InlineData("""{"data":{"type":"attestation","attributes":{"evidence_collected":[{"evidence_class":"log","evidence_type":"ima_log"},{"evidence_class":"certification","evidence_type":"tpm_quote"}]}}}""", HttpStatusCode.UnprocessableEntity)]
    [InlineData("""{"data":{"type":"attestation","type":"attestation","attributes":{}}}""", HttpStatusCode.BadRequest)]
    [InlineData("""{"data":""", HttpStatusCode.BadRequest)]
    [InlineData("null", HttpStatusCode.BadRequest)]
    [InlineData("[]", HttpStatusCode.BadRequest)]
    [InlineData("", HttpStatusCode.BadRequest)]
    public async Task A_body_that_is_none_is_refused_and_spends_nothing(string body, HttpStatusCode status)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();

        var refused = await service.Anonymous.SendAsync("PATCH", asked.Location, body, Http.JsonApi, agent.Token);
        Assert.Equal(status, refused.Status);
        Assert.NotEmpty(refused.Json["errors"]!.AsArray());
        Assert.Equal(HttpStatusCode.UnsupportedMediaType,
            (await service.Anonymous.SendAsync("PATCH", asked.Location, body, "text/plain", agent.Token)).Status);

        (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted);
        Assert.Equal("trusted", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_verdict_on_a_node_that_is_retired_meanwhile_is_neither_lost_nor_anothers()
    {
        Action meanwhile = () => { };
        await using var service = await TestService.StartAsync(services =>
            Microsoft.Extensions.DependencyInjection.ServiceCollectionServiceExtensions.AddSingleton<Verifier.Appraiser>(services, (request, evidence) =>
            {
                meanwhile();
                return Keylime.Attestation.Appraisal.Appraise(request, evidence);
            }));
        using var agent = await TestAgent.EnrolledAsync(service, "node");

        meanwhile = () => Operate("POST", "/v1/nodes/node/retire", null);
        await agent.AttestAsync();
        var node = (await agent.NodeAsync())["node"]!;
        Assert.Equal(("retired", 1), (node["state"]!.GetValue<string>(), node["attestations"]!.GetValue<int>()));

        // Enrolled anew in the same moment, the node has not been judged yet: what comes in was asked of its former self.
        Operate("PUT", "/v1/nodes/node", """{"runtimePolicy":"node"}""");
        service.Clock.Advance(TimeSpan.FromSeconds(60));
        await agent.AuthenticateAsync();
        meanwhile = () =>
        {
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            Operate("POST", "/v1/nodes/node/retire", null);
            Operate("PUT", "/v1/nodes/node", """{"runtimePolicy":"node"}""");
        };
        await agent.AttestAsync();
        Assert.Equal("pending", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
        Assert.Equal(2, (await service.Operator.SendAsync("GET", "/v1/nodes/node/verdicts")).Json["verdicts"]!.AsArray().Count);

        void Operate(string method, string path, string? body) =>
            Assert.True((int)service.Operator.SendAsync(method, path, body).GetAwaiter().GetResult().Status is 200 or 201);
    }

    [Fact]
    public async Task A_list_of_too_many_lines_is_refused_and_spends_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        var evidence = agent.Collect(asked);
        var lines = new byte[Verifier.ReportedEvidence.MaxLines + 1];
        lines.AsSpan().Fill((byte)'\n');

        var refused = await agent.SubmitAsync(asked, evidence with { Lines = lines });
        Assert.Equal(HttpStatusCode.UnprocessableEntity, refused.Status);
        Assert.Contains("1000000", refused.Json["errors"]![0]!["detail"]!.GetValue<string>(), StringComparison.Ordinal);
        (await agent.SubmitAsync(asked, evidence)).Expect(HttpStatusCode.Accepted);
    }

    [Fact]
    public async Task An_exception_in_judging_is_a_failed_attestation()
    {
        await using var service = await TestService.StartAsync(services =>
            Microsoft.Extensions.DependencyInjection.ServiceCollectionServiceExtensions.AddSingleton<Verifier.Appraiser>(
                services, (_, _) => throw new InvalidOperationException("a bug")));
        using var agent = await TestAgent.EnrolledAsync(service, "node");

        var attributes = await agent.AttestAsync();

        Assert.Equal("fail", attributes["evaluation"]!.GetValue<string>());
        Assert.Equal("failed", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
        Assert.DoesNotContain("a bug", attributes.ToJsonString(), StringComparison.Ordinal);
    }

    private static async Task FailsAsync(string code, Func<TestAgent, Asked, Collected, Collected> alter)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();

        var attributes = (await agent.SubmitAsync(asked, alter(agent, asked, agent.Collect(asked)))).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!;

        Assert.Equal("fail", attributes["evaluation"]!.GetValue<string>());
        Assert.Equal("broken_evidence_chain", attributes["failure_reason"]!.GetValue<string>());
        var node = await agent.NodeAsync();
        Assert.Equal("failed", node["node"]!["state"]!.GetValue<string>());
        Assert.Equal(code, node["lastVerdict"]!["findings"]![0]!["code"]!.GetValue<string>());
    }

    private static Collected Quoted(TestAgent agent, byte[] nonce, PcrSelection selection, Collected evidence)
    {
        var (message, signature, pcrs) = agent.Tpm.Quote(nonce, selection);
        return evidence with { Message = message, Signature = signature, Pcrs = pcrs };
    }

    // As near as a stranger's TPM can come: the same values in all PCRs that are asked for.
    private static void CopyPcrs(SoftwareTpm from, SoftwareTpm to) => to.Set(TpmAlgorithm.Sha256, 10, from.Read(TpmAlgorithm.Sha256, 10));

    private static byte[] Flip(byte[] bytes, int at, int bit = 0)
    {
        var copy = (byte[])bytes.Clone();
        copy[at] ^= (byte)(1 << bit);
        return copy;
    }

    private static List<string> Lines(byte[] list) => [.. Encoding.UTF8.GetString(list).Split('\n', StringSplitOptions.RemoveEmptyEntries)];

    private static byte[] WithoutLine(byte[] list, int line)
    {
        var lines = Lines(list);
        lines.RemoveAt(line);
        return Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n");
    }

    private static string Code(Reply reply) => reply.Json["errors"]![0]!["code"]!.GetValue<string>();
}

using System.Net;
using System.Text;
using System.Text.Json;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>Measurement lists that come compressed: judged as if they had not, within bounds, and with room for what they inflate to.</summary>
public sealed class CompressedEvidenceTests
{
    private const string Gzip = "application/gzip";
    private static readonly string[] Formats = ["text/plain", "application/octet-stream", Gzip];
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(TestService.IntervalSeconds);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("application/gzip", "application/gzip application/octet-stream text/plain")]
    [InlineData("application/gzip", "text/plain application/octet-stream application/gzip")]
    [InlineData("application/gzip", "application/gzip")]
    [InlineData("application/octet-stream", "text/plain application/octet-stream")]
    [InlineData("text/plain", "text/plain")]
    [InlineData("text/plain", "application/zstd text/plain APPLICATION/GZIP")]
    [InlineData(null, "application/zstd")]
    public async Task The_smallest_format_that_is_offered_is_asked_for(string? chosen, string offered)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        agent.Formats = offered.Split(' ');
        var reply = await agent.AskAsync();
        if (chosen is not null)
        {
            Assert.Equal(chosen, TestAgent.Read(reply).Format);
            return;
        }

        Assert.Equal(HttpStatusCode.UnprocessableEntity, reply.Status);
        Assert.Equal("/data/attributes/evidence_supported/1/capabilities/formats", reply.Json["errors"]![0]!["source"]!["pointer"]!.GetValue<string>());
        Assert.Contains("application/gzip", reply.Json["errors"]![0]!["detail"]!.GetValue<string>(), StringComparison.Ordinal);
    }

    [Fact]
    public void Any_list_is_read_as_the_same_bytes_in_each_format()
    {
        var random = new Random(11);
        for (var i = 0; i < 200; i++)
        {
            var chars = Enumerable.Range(0, random.Next(i * 40 + 1)).Select(_ => random.Next(40) == 0 ? '\n' : (char)random.Next(1, 0x250));
            var text = Encoding.UTF8.GetBytes(string.Concat(chars));
            foreach (var format in Formats)
            {
                var collected = new Collected([1], [2], [3], text) { Format = format };
                var attributes = JsonSerializer.Deserialize(collected.ToJson(), UpstreamJson.Default.DocumentAttestationAttributes)!.Data.Attributes;
                Assert.True(ReportedEvidence.TryRead(Asking(format), attributes, format == Gzip ? text.Length : null, out var evidence, out var refusal), refusal?.Detail);
                Assert.True(evidence.ImaLines!.Value.Span.SequenceEqual(text), format);
            }
        }
    }

    [Fact]
    public async Task Verdict_findings_and_what_is_kept_are_the_same_in_each_format()
    {
        var made = new List<(string Good, string Bad)>();
        foreach (var format in Formats)
        {
            await using var service = await TestService.StartAsync();
            using var agent = await TestAgent.EnrolledAsync(service, "node");
            agent.Formats = [format];
            var asked = await agent.AttestAndGoOnAsync();
            Assert.Equal((format, 6), (asked.Format, asked.Offset)); // what is asked in advance is asked in that format
            var good = await VerdictAsync();

            // No line, then a line; then one that the policy does not know, and one that nothing proves.
            agent.Wait(Interval);
            asked = TestAgent.Next(await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked)))!;
            await agent.MeasureAsync("/usr/bin/tool0");
            agent.Wait(Interval);
            asked = TestAgent.Next(await agent.SubmitAndGoOnAsync(asked, agent.Collect(asked)))!;
            Assert.Equal((format, 7), (asked.Format, asked.Offset));
            await agent.MeasureAsync("/tmp/unknown");
            agent.Wait(Interval);
            var evidence = agent.Collect(asked);
            var answer = await agent.SubmitAndGoOnAsync(asked, evidence with { Lines = [.. evidence.Lines!, .. "10 nonsense\n"u8] });
            Assert.Equal("fail", answer.Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
            made.Add((good, await VerdictAsync()));

            async Task<string> VerdictAsync()
            {
                var node = (await service.Get<INodeStore>().FindAsync(AgentId.Parse("node"), Cancel))!.Value;
                var verdict = (await service.Get<IVerdictStore>().FindAsync(node.Id, node.Last!.Attestation, Cancel))!;
                var list = await service.Get<EvidenceHistory>().ImaLinesAsync(node, Cancel);
                return JsonSerializer.Serialize(new { verdict.Message.Evaluation, verdict.Message.Findings, verdict.Message.ImaFrom, verdict.Message.ImaTo, verdict.FailureReason, List = list is { } lines ? Encoding.UTF8.GetString(lines.Span) : null });
            }
        }

        Assert.Equal(made[0], made[1]);
        Assert.Equal(made[0], made[2]);
        Assert.Contains("\"pass\"", made[0].Good, StringComparison.Ordinal);
        Assert.Contains("/usr/bin/tool4", made[0].Good, StringComparison.Ordinal);
        Assert.Contains("\"fail\"", made[0].Bad, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_no_good_member_is_refused_with_its_place_and_spends_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        agent.Formats = [Gzip];
        var asked = await agent.AskedAsync();
        var evidence = agent.Collect(asked);
        var member = Collected.Gzip(evidence.Lines!);
        var altered = member.ToArray();
        altered[^7] ^= 1;
        foreach (var (sent, reason) in ((Collected, string)[])[
            (evidence with { Member = [.. member, 0] }, "must"),
            (evidence with { Member = [.. member, .. member] }, "must"),
            (evidence with { Member = member[..^1] }, "must"),
            (evidence with { Member = altered }, "CRC"),
            (evidence with { Member = evidence.Lines }, "gzip member"),
            (evidence with { Member = Collected.Gzip(new byte[10_000_000]), Declared = "10000000" }, "32 times"),
            (evidence with { Declared = $"{evidence.Lines!.Length - 1}" }, "Keylime-Log-Length"),
            (evidence with { Declared = "0" }, "Keylime-Log-Length")])
            Refused(await agent.SubmitAsync(asked, sent), HttpStatusCode.UnprocessableEntity, reason, "/data/attributes/evidence_collected/1/data/entries");

        var text = evidence.ToJson();
        text["data"]!["attributes"]!["evidence_collected"]![1]!["data"]!["entries"] = "10 no base64";
        Refused(await service.Anonymous.SendAsync("PATCH", asked.Location, evidence.ToContent(text), Http.JsonApi, agent.Token), HttpStatusCode.UnprocessableEntity, Gzip, "/data/attributes/evidence_collected/1/data/entries");
        foreach (var said in (string[])["-1", "0x10", "many", "1,2", "99999999999999999999"])
            Refused(await agent.SubmitAsync(asked, evidence with { Declared = said }), HttpStatusCode.BadRequest, "Keylime-Log-Length", null);
        Refused(await agent.SubmitAsync(asked, evidence with { Declared = $"{LogLength.Most + 1}" }), HttpStatusCode.RequestEntityTooLarge, "Keylime-Log-Length", null);

        var judged = (await agent.SubmitAsync(asked, evidence with { Declared = "" })).Expect(HttpStatusCode.Accepted); // who says nothing is believed to send much
        Assert.Equal("pass", judged["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
    }

    [Fact]
    public async Task The_header_says_nothing_where_no_compressed_list_is_asked_for()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        var asked = await agent.AskedAsync();
        var evidence = agent.Collect(asked);
        var content = (evidence with { Format = Gzip, Declared = "many" }).ToContent(evidence.ToJson());
        (await service.Anonymous.SendAsync("PATCH", asked.Location, content, Http.JsonApi, agent.Token)).Expect(HttpStatusCode.Accepted);
    }

    [Fact]
    public async Task Room_is_taken_for_what_a_list_inflates_to_and_a_short_one_stays_small()
    {
        await using var service = await TestService.StartAsync(static services =>
            services.Replace(ServiceDescriptor.Singleton(static provider => new EvidenceLimit(200_000, provider.GetRequiredService<TimeProvider>()))));
        using var agent = await TestAgent.EnrolledAsync(service, "node", new Keylime.Testing.SoftwareTpm(TpmAlgorithm.Ecdsa));
        agent.Formats = [Gzip];
        var asked = await agent.AskedAsync();
        var evidence = agent.Collect(asked);
        var limit = service.Get<EvidenceLimit>();
        using var taken = await limit.EnterAsync(AgentId.Parse("other"), 190_000, Cancel);
        var waiting = limit.EnterAsync(AgentId.Parse("another"), 190_000, Cancel).AsTask();

        // All of them have bodies of a few hundred bytes.
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await agent.SubmitAsync(asked, evidence with { Declared = "90000" })).Status);
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await agent.SubmitAsync(asked, evidence with { Declared = $"{EvidenceLimit.Small}" })).Status); // with its body it is more
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await agent.SubmitAsync(asked, evidence with { Declared = "" })).Status);
        (await agent.SubmitAsync(asked, evidence)).Expect(HttpStatusCode.Accepted);
        taken!.Dispose();
        (await waiting)!.Dispose();
    }

    private static void Refused(Reply reply, HttpStatusCode status, string reason, string? pointer)
    {
        Assert.Equal(status, reply.Status);
        var error = reply.Json["errors"]![0]!;
        Assert.Contains(reason, error["detail"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal(pointer, error["source"]?["pointer"]?.GetValue<string>());
    }

    private static OpenAttestation Asking(string format) => new()
    {
        Number = 0,
        UnsettledFrom = 0,
        Nonce = new byte[32],
        Bank = TpmAlgorithm.Sha256,
        PcrBits = 1024,
        Scheme = TpmAlgorithm.RsaSsa,
        SchemeHash = TpmAlgorithm.Sha256,
        Ima = new OpenImaLog(null, Raw: format != "text/plain") { Gzip = format == Gzip },
        BootTime = default,
        RequestedAt = default,
        ExpiresAt = default,
    };
}

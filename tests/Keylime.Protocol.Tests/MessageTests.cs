using System.Text;
using System.Text.Json;
using Keylime.Protocol.Api;

namespace Keylime.Protocol.Tests;

/// <summary>Ours is strict, upstream's is tolerant; neither takes a member twice.</summary>
public sealed class MessageTests
{
    [Theory]
    [InlineData("""{"intervalSeconds":60}""", true)]
    [InlineData("""{}""", true)]
    [InlineData("""{"interval_seconds":60}""", false)]
    [InlineData("""{"IntervalSeconds":60}""", false)]
    [InlineData("""{"intervalSeconds":60,"intervalSeconds":61}""", false)]
    [InlineData("""{"intervalSeconds":"60"}""", false)]
    [InlineData("""{"intervalSeconds":60,}""", false)]
    [InlineData("""{"intervalSeconds":60} """, true)]
    [InlineData("""{"intervalSeconds":60}{}""", false)]
    [InlineData("""{/* */}""", false)]
    public void Our_own_messages_are_strict(string text, bool good) => Check(good, () => JsonSerializer.Deserialize(text, ApiJson.Default.EnrolNode));

    [Theory]
    [InlineData("""{"auth_tag":"x"}""", true)]
    [InlineData("""{"auth_tag":"x","new_in_2.7":1}""", true)]
    [InlineData("""{"auth_tag":"x","auth_tag":"y"}""", false)]
    [InlineData("""{"auth_tag":7}""", false)]
    public void Upstreams_messages_may_have_members_nobody_knows(string text, bool good) =>
        Check(good, () => JsonSerializer.Deserialize(text, UpstreamJson.Default.ActivateRequest));

    [Theory]
    [InlineData("""{"data":{"type":"session","attributes":{}}}""", true)]
    [InlineData("""{"data":{"type":"session","attributes":null}}""", false)]
    [InlineData("""{"data":{"type":"session"}}""", false)]
    [InlineData("""{"data":{"type":null,"attributes":{}}}""", false)]
    [InlineData("""{"data":null}""", false)]
    public void A_document_has_a_resource_with_attributes(string text, bool good) =>
        Check(good, () => JsonSerializer.Deserialize(text, UpstreamJson.Default.DocumentSessionAttributes));

    [Theory]
    [InlineData("""{"code":200,"status":"Success","results":{"blob":"AAAA"}}""", true)]
    [InlineData("""{"code":200,"status":"Success","results":{"blob":null}}""", false)]
    [InlineData("""{"code":200,"status":"Success","results":null}""", false)]
    [InlineData("""{"code":200,"status":"Success"}""", false)]
    public void An_envelope_has_results(string text, bool good) =>
        Check(good, () => JsonSerializer.Deserialize(text, UpstreamJson.Default.EnvelopeRegisterResults));

    [Fact]
    public void A_message_nested_without_end_is_refused()
    {
        var text = string.Concat(Enumerable.Repeat("{\"data\":", 5000));
        Assert.Throws<JsonException>(() => JsonSerializer.Deserialize(text, UpstreamJson.Default.DocumentAttestationAttributes));
        var array = "{\"unknown\":" + new string('[', 5000);
        Assert.Throws<JsonException>(() => JsonSerializer.Deserialize(array, UpstreamJson.Default.RegisterRequest));
    }

    [Theory]
    [InlineData("a", true)]
    [InlineData("d432fbb3-d2f1-4a97-9ef7-75bd81c0de01", true)]
    [InlineData("A_.-9", true)]
    [InlineData("", false)]
    [InlineData(".", false)]
    [InlineData("..", false)]
    [InlineData("a b", false)]
    [InlineData("a/b", false)]
    [InlineData("a\\b", false)]
    [InlineData("a#b", false)]
    [InlineData("a?b", false)]
    [InlineData("a\nb", false)]
    [InlineData("a\u202eb", false)]
    [InlineData("ä", false)]
    [InlineData("a\0", false)]
    public void Ids(string text, bool good)
    {
        Assert.Equal(good, AgentId.TryParse(text, null, out var id));
        if (good)
            Assert.Equal(text, id.ToString());
    }

    [Fact]
    public void An_id_has_80_signs_at_most_and_none_is_no_id()
    {
        Assert.True(AgentId.TryParse(new string('a', AgentId.MaxLength), null, out _));
        Assert.False(AgentId.TryParse(new string('a', AgentId.MaxLength + 1), null, out _));
        Assert.False(AgentId.TryParse(null, null, out _));
        Assert.Throws<InvalidOperationException>(() => default(AgentId).ToString());
    }

    [Fact]
    public void States_go_over_the_wire_in_small_letters()
    {
        foreach (var state in Enum.GetValues<NodeState>())
        {
            var node = new NodeSummary
            {
                Id = AgentId.Parse("a"),
                State = state,
                Reason = "",
                Coverage = new Coverage("none", "none", "none"),
                IntervalSeconds = 1,
                EnrolledAt = DateTimeOffset.UnixEpoch,
                Attestations = 0,
            };
            var text = JsonSerializer.Serialize(node, ApiJson.Default.NodeSummary);
            Assert.Contains($"\"state\":\"{state.ToString().ToLowerInvariant()}\"", text, StringComparison.Ordinal);
            Assert.Equal(state, JsonSerializer.Deserialize(text, ApiJson.Default.NodeSummary)!.State);
        }
    }

    [Fact]
    public void The_text_of_a_list_stays_bytes()
    {
        var text = "{\"data\":{\"type\":\"attestation\",\"attributes\":{\"evidence_collected\":[{\"evidence_class\":\"log\",\"evidence_type\":\"ima_log\",\"data\":{\"entries\":\"10 \\u0041\\n\\u00e9\"}}]}}}";
        var message = JsonSerializer.Deserialize(text, UpstreamJson.Default.DocumentAttestationAttributes)!;
        Assert.Equal(Encoding.UTF8.GetBytes("10 A\n\u00e9"), message.Data.Attributes.EvidenceCollected![0].Data!.Entries!.Value.ToArray());
    }

    private static void Check<T>(bool good, Func<T> read)
    {
        if (good)
            Assert.NotNull(read());
        else
            Assert.Throws<JsonException>(() => read());
    }
}

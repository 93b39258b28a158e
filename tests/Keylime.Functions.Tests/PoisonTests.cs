using System.Net;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>Every field of every message that an agent sends, filled with what does not belong there.</summary>
public sealed class PoisonTests
{
    // Fields that upstream has, and that nothing here is decided by: what is in them makes no difference, so a pass is right.
    private static readonly string[] WithoutMeaning = ["/data/attributes/evidence_collected/1/data/entry_count"];

    private static readonly JsonNode?[] Poisons =
    [
        null, true, -1, 1e300, JsonNode.Parse("18446744073709551616"), "", "AAAA", "\u0000\u001b[2J\r\n\u202e", "%00", new string('9', 5000), new JsonArray(), new JsonObject(),
        JsonNode.Parse("[[[[[[[[]]]]]]]]"), new JsonArray("a", null, 1), new JsonObject { ["id"] = "x" },
    ];

    [Fact]
    public async Task CVE_2022_3500_GHSA_hff2_x2j9_gxgv_no_field_of_the_evidence_makes_an_exception_or_keeps_a_node_good()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        var (refused, failed) = (0, 0);
        var asked = await agent.AskedAsync();
        foreach (var path in Paths(agent.Collect(asked).ToJson()))
        {
            foreach (var poison in Poisons)
            {
                var reply = await service.Anonymous.SendAsync("PATCH", asked.Location, With(agent.Collect(asked).ToJson(), path, poison), Http.JsonApi, agent.Token);
                Assert.True((int)reply.Status < 500, $"{path} {poison?.ToJsonString()}: {reply.Status} {reply.Text}");
                if (reply.Status != HttpStatusCode.Accepted)
                {
                    refused++;
                    continue; // and the challenge is still open
                }

                var evaluation = reply.Json["data"]!["attributes"]!["evaluation"]!.GetValue<string>();
                Assert.True(evaluation == (WithoutMeaning.Contains(path) ? "pass" : "fail"), $"{path} {poison?.ToJsonString()}: {evaluation}");
                Assert.Equal(evaluation == "pass" ? "trusted" : "failed", (await agent.NodeAsync())["node"]!["state"]!.GetValue<string>());
                failed++;
                service.Clock.Advance(TimeSpan.FromSeconds(60));
                await agent.AuthenticateAsync();
                asked = await agent.AskedAsync();
            }
        }

        Assert.True(refused > 100 && failed > 10, $"{refused} refused, {failed} judged");
        Assert.Equal("pass", (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
        Assert.All(service.Log.All, line => Assert.DoesNotContain("\u001b[2J", line, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("register")]
    [InlineData("activate")]
    [InlineData("session")]
    [InlineData("proof")]
    [InlineData("capabilities")]
    public async Task CVE_2022_3500_GHSA_hff2_x2j9_gxgv_no_field_of_a_message_makes_an_exception(string message)
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node", new SoftwareTpm(TpmAlgorithm.Ecdsa));
        var challenge = new byte[32];
        var session = "x";
        if (message == "proof")
        {
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            (session, challenge) = await agent.OpenSessionAsync();
        }

        var good = message switch
        {
            "register" => agent.Registration(),
            "activate" => new JsonObject { ["auth_tag"] = new string('0', 96) },
            "session" => agent.SessionRequest(),
            "proof" => agent.Proof(challenge),
            _ => agent.Capabilities(),
        };
        var (method, path, type) = message switch
        {
            "register" => ("POST", "/v2.6/agents/node", "application/json"),
            "activate" => ("PUT", "/v2.6/agents/node", "application/json"),
            "session" => ("POST", "/v3.0/sessions", Http.JsonApi),
            "proof" => ("PATCH", $"/v3.0/sessions/{session}", Http.JsonApi),
            _ => ("POST", "/v3.0/agents/node/attestations", Http.JsonApi),
        };
        var sent = 0;
        foreach (var at in Paths(good))
        {
            foreach (var poison in Poisons)
            {
                var reply = await service.Anonymous.SendAsync(method, path, With((JsonObject)good.DeepClone(), at, poison), type, message == "capabilities" ? agent.Token : null);
                Assert.True((int)reply.Status < 500, $"{at} {poison?.ToJsonString()}: {reply.Status} {reply.Text}");
                Assert.False(message == "proof" && reply.Text.Contains("\"token\"", StringComparison.Ordinal) && at.Contains("/data/message", StringComparison.Ordinal), at);
                if (++sent % 500 == 0)
                    service.Clock.Advance(TimeSpan.FromMinutes(1)); // strangers are slowed down
            }
        }

        // Whatever came in its name, the node is what it was.
        service.Clock.Advance(TimeSpan.FromSeconds(61));
        await agent.AuthenticateAsync();
        Assert.Equal("pass", (await agent.AttestAsync())["evaluation"]!.GetValue<string>());
    }

    // Every value of a document, containers too, by its JSON pointer.
    private static string[] Paths(JsonNode? node, string at = "") => node switch
    {
        JsonObject members => [.. members.SelectMany(m => Paths(m.Value, $"{at}/{m.Key}").Prepend($"{at}/{m.Key}"))],
        JsonArray items => [.. items.SelectMany((item, i) => Paths(item, $"{at}/{i}").Prepend($"{at}/{i}"))],
        _ => [],
    };

    private static JsonObject With(JsonObject document, string path, JsonNode? value)
    {
        var steps = path.Split('/')[1..];
        JsonNode parent = document;
        foreach (var step in steps[..^1])
            parent = parent is JsonArray items ? items[int.Parse(step, System.Globalization.CultureInfo.InvariantCulture)]! : parent[step]!;
        if (parent is JsonArray array)
            array[int.Parse(steps[^1], System.Globalization.CultureInfo.InvariantCulture)] = value?.DeepClone();
        else
            parent[steps[^1]] = value?.DeepClone();
        return document;
    }
}

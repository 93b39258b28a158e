using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Keylime.Tpm;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Keylime.Functions.Tests;

/// <summary>
/// A recording of an upstream agent's requests, played to our service, which is made to choose the recorded challenges. Every answer
/// must have the form that the strict types of the unmodified agent decode (keylime-push-model-agent, its structures).
/// </summary>
public sealed class TranscriptTests
{
    private const string Agent = "d432fbb3-d2f1-4a97-9ef7-75bd81c0de01";

    [Fact]
    public async Task The_recorded_agent_passes_and_fails_here_as_it_did_upstream()
    {
        var challenges = new RecordedChallenges();
        await using var service = await TestService.StartAsync(services => services.Replace(ServiceDescriptor.Singleton<IChallengeSource>(challenges)));
        await RegisterAsync(service);
        await EnrolAsync(service);
        var token = await AuthenticateAsync(service, challenges);

        // The whole list; then one new line; then two; each passes.
        await AttestAsync(7, offset: 0, "pass");
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await AttestAsync(10, offset: 21, "pass");
        Upstream.CheckTooEarly(await PostAsync(12));
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        await AttestAsync(14, offset: 22, "pass");

        // A file that the policy does not know; then a list that lacks a line.
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var evil = await AttestAsync(17, offset: 24, "fail");
        Assert.Equal("policy_violation", evil["failure_reason"]!.GetValue<string>());
        Assert.Contains("/usr/bin/evil", evil["findings"]![0]!["detail"]!.GetValue<string>(), StringComparison.Ordinal);
        service.Clock.Advance(TimeSpan.FromSeconds(TestService.IntervalSeconds));
        var tampered = await AttestAsync(21, offset: 24, "fail");
        Assert.Equal("broken_evidence_chain", tampered["failure_reason"]!.GetValue<string>());

        async Task<Reply> PostAsync(int number)
        {
            if (Recording.Response(number)["data"]?["attributes"]?["evidence_requested"]?[0]?["chosen_parameters"]?["challenge"] is { } nonce)
                challenges.Nonce = Convert.FromBase64String(nonce.GetValue<string>());
            return await service.Anonymous.SendAsync("POST", $"/v3.0/agents/{Agent}/attestations", Recording.Request(number), Http.JsonApi, token);
        }

        async Task<JsonNode> AttestAsync(int number, int offset, string evaluation)
        {
            var created = await PostAsync(number);
            Upstream.CheckCreated(created);
            var requested = created.Json["data"]!["attributes"]!["evidence_requested"]!.AsArray();
            Assert.Equal(["tpm_quote", "ima_log"], requested.Select(r => r!["evidence_type"]!.GetValue<string>()));
            Assert.Equal(offset, requested[1]!["chosen_parameters"]!["starting_offset"]!.GetValue<int>());

            // The recorded verifier also asked for the boot log, which ours does not yet: an agent leaves out what nobody asks for.
            var evidence = Recording.Request(number + 1);
            evidence["data"]!["attributes"]!["evidence_collected"]!.AsArray().RemoveAt(1);
            var accepted = await service.Anonymous.SendAsync("PATCH", created.Location!, evidence, Http.JsonApi, token);
            Upstream.CheckAccepted(accepted);
            var attributes = accepted.Json["data"]!["attributes"]!;
            Assert.True(attributes["evaluation"]!.GetValue<string>() == evaluation, accepted.Text);
            Assert.Equal("verification_complete", attributes["stage"]!.GetValue<string>());
            return attributes;
        }
    }

    private static async Task RegisterAsync(TestService service)
    {
        var registered = await service.Anonymous.SendAsync("POST", $"/v2.6/agents/{Agent}", Recording.Request(1));
        Upstream.CheckEnvelope(registered);
        Assert.NotEqual(0, CredentialBlob.Parse(Convert.FromBase64String(registered.Json["results"]!["blob"]!.GetValue<string>())).EncryptedSecret.Length);

        // Only the recorded TPM could open our credential; so the answer that it gave to the recorded one is made the right one.
        var tag = Recording.Request(2)["auth_tag"]!.GetValue<string>();
        var store = service.Get<IRecordStore<Registration>>();
        var stored = await store.FindAsync(Agent, TestContext.Current.CancellationToken);
        var hash = System.Security.Cryptography.SHA256.HashData(Convert.FromHexString(tag));
        Assert.True(await store.TryReplaceAsync(stored!, stored!.Value with { ExpectedTagHash = hash }, TestContext.Current.CancellationToken));
        var activated = await service.Anonymous.SendAsync("PUT", $"/v2.6/agents/{Agent}", Recording.Request(2));
        Upstream.CheckEnvelope(activated);
    }

    // With the recorded policy, and the recorded values of all PCRs that the recorded quotes cover.
    private static async Task EnrolAsync(TestService service)
    {
        // Upstream had the boot log too, and so knew the aggregate of the boot; here the policy has to allow it.
        var policy = JsonNode.Parse(Convert.FromBase64String(Recording.Request(4)["runtime_policy"]!.GetValue<string>()))!;
        policy["digests"]!["boot_aggregate"] = new JsonArray("0ef0ff51f6f7a4e6a93262ab47f23d4165e780d51b1762385821fecdda61b13a");
        (await service.Operator.SendAsync("PUT", "/v1/policies/recorded", policy)).Expect(HttpStatusCode.Created);

        var data = Recording.Request(8)["data"]!["attributes"]!["evidence_collected"]![0]!["data"]!;
        var blob = PcrBlob.Parse(Convert.FromBase64String(data["subject_data"]!.GetValue<string>()));
        var pcrs = new JsonObject();
        var i = 0;
        foreach (var pcr in blob.Selection.Pcrs)
        {
            if (pcr != 10)
                pcrs[pcr.ToString(CultureInfo.InvariantCulture)] = new JsonArray(Convert.ToHexStringLower(blob.Values[i].Span));
            i++;
        }

        var node = new JsonObject { ["runtimePolicy"] = "recorded", ["pcrs"] = pcrs };
        (await service.Operator.SendAsync("PUT", $"/v1/nodes/{Agent}", node)).Expect(HttpStatusCode.Created);
    }

    private static async Task<string> AuthenticateAsync(TestService service, RecordedChallenges challenges)
    {
        challenges.Session = Convert.FromBase64String(
            Recording.Response(5)["data"]!["attributes"]!["authentication_requested"]![0]!["chosen_parameters"]!["challenge"]!.GetValue<string>());
        var opened = await service.Anonymous.SendAsync("POST", service.Url + "/v3.0/sessions", Recording.Request(5), Http.JsonApi);
        Upstream.CheckSessionOpened(opened);
        var id = opened.Json["data"]!["id"]!.GetValue<string>();

        var proof = Recording.Request(6);
        proof["data"]!["id"] = id;
        var proven = await service.Anonymous.SendAsync("PATCH", $"/v3.0/sessions/{id}", proof, Http.JsonApi);
        Upstream.CheckSessionProven(proven);
        Assert.Equal("pass", proven.Json["data"]!["attributes"]!["evaluation"]!.GetValue<string>());
        return proven.Json["data"]!["attributes"]!["token"]!.GetValue<string>();
    }

    private sealed class RecordedChallenges : IChallengeSource
    {
        public byte[] Session { get; set; } = [];

        public byte[] Nonce { get; set; } = [];

        public byte[] NewNonce() => Nonce;

        public byte[] OfSession(string session) => Session;
    }
}

/// <summary>The recorded messages.</summary>
internal static class Recording
{
    private static readonly string Folder = Path.Combine(AppContext.BaseDirectory, "evidence", "upstream");

    public static JsonNode Request(int number) => Read($"{number:00}.req");

    public static JsonNode Response(int number) => Read($"{number:00}.resp");

    private static JsonNode Read(string name)
    {
        var text = File.ReadAllText(Path.Combine(Folder, name), Encoding.UTF8);
        return JsonNode.Parse(text[(text.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..])!;
    }
}

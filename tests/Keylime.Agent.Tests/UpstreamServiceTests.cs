using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Tpm;

namespace Keylime.Agent.Tests;

/// <summary>Our agent, on a real TPM, is answered with what an upstream registrar and verifier really answered.</summary>
public sealed class UpstreamServiceTests
{
    [Fact]
    public async Task Every_recorded_answer_is_accepted()
    {
        await using var rig = await AgentRig.StartAsync(lines: 30);
        rig.UefiLog = [1, 2, 3, 4];
        int[] created = [7, 10, 12, 14, 17, 21];
        int[] accepted = [8, 11, 15, 18, 22];
        var (asked, answered) = (0, 0);
        await using var service = await ScriptedService.StartAsync(received => (received.Method, received.Path) switch
        {
            ("GET", "/version") => Scripted.Recorded(39),
            // The recorded credential is for the recorded TPM: the one thing in all answers that cannot be used again.
            ("POST", $"/v2.6/agents/{AgentRig.Id}") => Scripted.Recorded(1) with { Body = WithBlob(Scripted.Recorded(1).Body, AgentRig.Blob(received)) },
            ("PUT", $"/v2.6/agents/{AgentRig.Id}") => Scripted.Recorded(2),
            ("POST", "/v3.0/sessions") => Scripted.Recorded(5),
            ("PATCH", "/v3.0/sessions/9d9b248f-603b-4d22-8162-8aa6027ceddc") => Scripted.Recorded(6),
            ("POST", $"/v3.0/agents/{AgentRig.Id}/attestations") => Scripted.Recorded(created[Math.Min(asked++, created.Length - 1)]),
            ("PATCH", _) => Scripted.Recorded(accepted[Math.Min(answered++, accepted.Length - 1)]),
            _ => Scripted.Json(404, "{}"),
        });

        await rig.RunUntilAsync(service, () => answered == accepted.Length);

        var requests = service.Requests.ToArray();
        Assert.All(requests.Where(r => r.Path.Contains("attestations", StringComparison.Ordinal)), r =>
            Assert.Equal("Bearer 9d9b248f-603b-4d22-8162-8aa6027ceddc.LOdQRWOiqEwVSGCl6qSuId-cISWtRTEgL_cVPPjNexo", r.Authorization));

        CheckActivation(requests);
        CheckPossession(requests);
        CheckCapabilities(requests.First(r => r.Path.EndsWith("/attestations", StringComparison.Ordinal)));

        // Each answer has what was asked for, in that order, and the quote is good.
        var evidence = requests.Where(r => r.Method == "PATCH" && r.Path.Contains("attestations", StringComparison.Ordinal)).ToArray();
        var list = File.ReadAllLines(rig.ImaPath);
        foreach (var ((number, offset), received) in ((int, int)[])[(7, 0), (10, 21), (14, 22), (17, 24), (21, 24)] is var all ? all.Zip(evidence) : [])
        {
            Assert.Equal(Scripted.Recorded(number).Headers["Location"], received.Path);
            var items = received.Json["data"]!["attributes"]!["evidence_collected"]!.AsArray();
            Assert.Equal(["tpm_quote", "uefi_log", "ima_log"], items.Select(i => i!["evidence_type"]!.GetValue<string>()));
            Assert.Equal([1, 2, 3, 4], Convert.FromBase64String(items[1]!["data"]!["entries"]!.GetValue<string>()));
            Assert.Equal(string.Join('\n', list[offset..]) + "\n", items[2]!["data"]!["entries"]!.GetValue<string>());
            CheckQuote(number, items[0]!["data"]!, requests);
        }
    }

    [Fact]
    public async Task A_recorded_429_is_waited_for()
    {
        await using var rig = await AgentRig.StartAsync(lines: 3);
        DateTimeOffset? refused = null, again = null;
        await using var service = await ScriptedService.StartAsync(received => (received.Method, received.Path) switch
        {
            ("GET", "/version") => Scripted.Recorded(39),
            ("POST", $"/v2.6/agents/{AgentRig.Id}") => Scripted.Recorded(1) with { Body = WithBlob(Scripted.Recorded(1).Body, AgentRig.Blob(received)) },
            ("PUT", _) => Scripted.Recorded(2),
            ("POST", "/v3.0/sessions") => Scripted.Recorded(5),
            ("PATCH", _) => Scripted.Recorded(6),
            _ => TooEarly(),
        });
        await rig.RunUntilAsync(service, () => again is not null);

        var retryAfter = int.Parse(Scripted.Recorded(12).Headers["Retry-After"], CultureInfo.InvariantCulture);
        Assert.True(again - refused >= TimeSpan.FromSeconds(retryAfter), $"{again - refused} is less than {retryAfter} s");

        Scripted TooEarly()
        {
            if (refused is null)
                refused = rig.Clock.GetUtcNow();
            else
                again ??= rig.Clock.GetUtcNow();
            return Scripted.Recorded(12);
        }
    }

    private static byte[] WithBlob(byte[] body, string blob)
    {
        var json = JsonNode.Parse(body)!;
        json["results"]!["blob"] = blob;
        return Encoding.UTF8.GetBytes(json.ToJsonString());
    }

    private static void CheckActivation(Received[] requests)
    {
        var tag = requests.Single(r => r.Method == "PUT").Json["auth_tag"]!.GetValue<string>();
        var key = Encoding.ASCII.GetBytes(Convert.ToBase64String("0123456789abcdefghijklmnopqrstuv"u8));
        Assert.Equal(Convert.ToHexStringLower(System.Security.Cryptography.HMACSHA384.HashData(key, Encoding.UTF8.GetBytes(AgentRig.Id))), tag);
        var claim = requests.First(r => r.Path.StartsWith("/v2.6", StringComparison.Ordinal)).Json;
        Assert.StartsWith("-----BEGIN CERTIFICATE-----", claim["ekcert"]!.GetValue<string>(), StringComparison.Ordinal);
        Assert.Equal("disabled", claim["mtls_cert"]!.GetValue<string>());
    }

    private static void CheckPossession(Received[] requests)
    {
        var proof = requests.First(r => r.Path.StartsWith("/v3.0/sessions/", StringComparison.Ordinal)).Json["data"]!["attributes"]!["authentication_provided"]![0]!["data"]!;
        using var key = Key(requests);
        Assert.Null(Possession.Verify(key, Convert.FromBase64String("/WPo/2owl+KWNPFw911twA=="),
            Convert.FromBase64String(proof["message"]!.GetValue<string>()), Convert.FromBase64String(proof["signature"]!.GetValue<string>())));
    }

    private static void CheckCapabilities(Received received)
    {
        var attributes = received.Json["data"]!["attributes"]!;
        Assert.Matches(@"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)$", attributes["system_info"]!["boot_time"]!.GetValue<string>());
        var quote = attributes["evidence_supported"]![0]!["capabilities"]!;
        Assert.Equal("2.0", quote["component_version"]!.GetValue<string>());
        Assert.Equal(24, quote["available_subjects"]!["sha256"]!.AsArray().Count);
        Assert.Equal("rsassa", quote["certification_keys"]![0]!["allowable_signature_schemes"]![0]!.GetValue<string>());
        Assert.Equal(["tpm_quote", "uefi_log", "ima_log"], attributes["evidence_supported"]!.AsArray().Select(i => i!["evidence_type"]!.GetValue<string>()));
    }

    private static void CheckQuote(int number, JsonNode data, Received[] requests)
    {
        var chosen = JsonNode.Parse(Scripted.Recorded(number).Body)!["data"]!["attributes"]!["evidence_requested"]![0]!["chosen_parameters"]!;
        var pcrs = chosen["selected_subjects"]!["sha256"]!.AsArray().Select(p => p!.GetValue<int>()).ToArray();
        using var key = Key(requests);
        var request = new QuoteRequest(
            Convert.FromBase64String(chosen["challenge"]!.GetValue<string>()), new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(pcrs)), key.Scheme);
        Assert.IsType<QuoteResult.Verified>(Quote.Verify(key, request, new QuoteEvidence(
            Bytes("message"), Bytes("signature"), Bytes("subject_data"))));

        byte[] Bytes(string member) => Convert.FromBase64String(data[member]!.GetValue<string>());
    }

    private static AttestationKey Key(Received[] requests)
    {
        var area = PublicArea.Parse(Convert.FromBase64String(requests.First(r => r.Method == "POST").Json["aik_tpm"]!.GetValue<string>()));
        Assert.True(AttestationKey.TryCreate(area, out var key, out _));
        return key;
    }
}

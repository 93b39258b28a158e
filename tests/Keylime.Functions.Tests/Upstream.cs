using System.Globalization;
using System.Net;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Keylime.Functions.Tests;

/// <summary>What the types of the unmodified upstream agent demand of an answer: a member that is missing or of another kind is an error there.</summary>
internal static class Upstream
{
    private static readonly string[] Hashes = ["sha1", "sha256", "sha384", "sha512", "sm3_256"];
    private static readonly string[] EvidenceTypes = ["tpm_quote", "ima_log", "uefi_log"];
    private static readonly string[] Schemes = ["rsassa", "rsapss", "ecdsa", "ecschnorr"];

    public static void CheckEnvelope(Reply reply)
    {
        Assert.InRange((int)reply.Status, 200, 299);
        Assert.Equal(JsonValueKind.Number, Kind(reply.Json["code"]));
        Assert.Equal(JsonValueKind.String, Kind(reply.Json["status"]));
        Assert.Equal(JsonValueKind.Object, Kind(reply.Json["results"]));
    }

    public static void CheckVersion(Reply reply)
    {
        CheckEnvelope(reply);
        Assert.Equal(JsonValueKind.String, Kind(reply.Json["results"]!["current_version"]));
        Assert.All(reply.Json["results"]!["supported_versions"]!.AsArray(), v => Assert.Equal(JsonValueKind.String, Kind(v)));
    }

    public static void CheckSessionOpened(Reply reply)
    {
        Assert.InRange((int)reply.Status, 200, 299);
        var data = CheckData(reply);
        Assert.Equal(JsonValueKind.String, Kind(data["id"]));
        var attributes = data["attributes"]!;
        Assert.Equal(JsonValueKind.String, Kind(attributes["agent_id"]));
        Assert.NotEmpty(attributes["authentication_requested"]!.AsArray());
        foreach (var method in attributes["authentication_requested"]!.AsArray())
        {
            CheckMethod(method!);
            Assert.NotEmpty(CanonicalBase64(method!["chosen_parameters"]!["challenge"]));
        }

        CheckTime(attributes["created_at"]);
        CheckTime(attributes["challenges_expire_at"]);
    }

    public static void CheckSessionProven(Reply reply)
    {
        Assert.InRange((int)reply.Status, 200, 299);
        var data = CheckData(reply);
        Assert.Equal(JsonValueKind.String, Kind(data["id"]));
        var attributes = data["attributes"]!;
        Assert.Equal(JsonValueKind.String, Kind(attributes["agent_id"]));
        Assert.Equal(JsonValueKind.String, Kind(attributes["evaluation"]));
        foreach (var method in attributes["authentication"]!.AsArray())
        {
            CheckMethod(method!);
            Assert.Equal(JsonValueKind.String, Kind(method!["chosen_parameters"]!["challenge"]));
            Assert.Equal(JsonValueKind.String, Kind(method["data"]!["message"]));
            Assert.Equal(JsonValueKind.String, Kind(method["data"]!["signature"]));
        }

        CheckTime(attributes["created_at"]);
        CheckTime(attributes["challenges_expire_at"]);
        CheckTime(attributes["response_received_at"]);
        if (attributes["token"] is { } token)
        {
            Assert.Matches("^[!-~]+$", token.GetValue<string>()); // it goes into a header
            CheckTime(attributes["token_expires_at"]);
        }
    }

    public static void CheckCreated(Reply reply)
    {
        Assert.True(reply.Status == HttpStatusCode.Created, $"{reply.Status}: {reply.Text}"); // no other 2xx will do
        Assert.StartsWith("/v3.0/agents/", reply.Location, StringComparison.Ordinal);
        var attributes = CheckData(reply)["attributes"]!;
        Assert.Equal(JsonValueKind.String, Kind(attributes["stage"]));
        Assert.NotEmpty(attributes["evidence_requested"]!.AsArray());
        foreach (var item in attributes["evidence_requested"]!.AsArray())
        {
            Assert.Contains(item!["evidence_type"]!.GetValue<string>(), EvidenceTypes);
            Assert.Equal(JsonValueKind.String, Kind(item["evidence_class"]));
            CheckChosen(item["chosen_parameters"]!.AsObject());
        }

        CheckTime(attributes["capabilities_received_at"]);
        CheckTime(attributes["challenges_expire_at"]);
    }

    public static void CheckAccepted(Reply reply)
    {
        Assert.True(reply.Status == HttpStatusCode.Accepted, $"{reply.Status}: {reply.Text}"); // no other 2xx will do
        var attributes = CheckData(reply)["attributes"]!;
        Assert.Equal(JsonValueKind.String, Kind(attributes["stage"]));
        Assert.Empty(attributes["evidence"]!.AsArray()); // must be there; what is in it would have to be whole
        Assert.Null(attributes["system_info"]);
        CheckTime(attributes["capabilities_received_at"]);
        CheckTime(attributes["evidence_received_at"]);
        if (reply.Json["jsonapi"] is { } jsonapi)
            Assert.Equal(JsonValueKind.String, Kind(jsonapi["version"]));
        Assert.Matches("^[1-9][0-9]*$", reply.Json["meta"]!["seconds_to_next_attestation"]!.ToJsonString()); // 60, not 60.0 or "60"
    }

    public static void CheckTooEarly(Reply reply)
    {
        Assert.Equal(HttpStatusCode.TooManyRequests, reply.Status);
        Assert.NotNull(reply.RetryAfter);
        Assert.True(reply.RetryAfter >= TimeSpan.FromSeconds(1), $"{reply.RetryAfter}");
    }

    // Decoded by trial there: what has a format is a log's, and must then be nothing else.
    private static void CheckChosen(JsonObject chosen)
    {
        if (chosen.ContainsKey("format"))
        {
            Assert.Equal(JsonValueKind.String, Kind(chosen["format"]));
            Assert.Equal(JsonValueKind.Number, Kind(chosen["starting_offset"]));
            Assert.DoesNotContain("challenge", chosen.Select(m => m.Key));
            Assert.DoesNotContain("entry_count", chosen.Select(m => m.Key));
            return;
        }

        Assert.InRange(CanonicalBase64(chosen["challenge"]).Length, 16, 34);
        Assert.Contains(chosen["signature_scheme"]!.GetValue<string>(), Schemes);
        Assert.Contains(chosen["hash_algorithm"]!.GetValue<string>(), Hashes);
        Assert.All(chosen["selected_subjects"]!.AsObject(), bank => Assert.Contains(bank.Key, Hashes));
        var key = chosen["certification_key"]!;
        foreach (var member in (string[])["key_class", "key_algorithm", "server_identifier", "local_identifier", "public"])
            Assert.Equal(JsonValueKind.String, Kind(key[member]));
        Assert.Equal(JsonValueKind.Number, Kind(key["key_size"]));
        Assert.Equal(JsonValueKind.Array, Kind(key["allowable_hash_algorithms"]));
        Assert.Equal(JsonValueKind.Array, Kind(key["allowable_signature_schemes"]));
    }

    private static JsonNode CheckData(Reply reply)
    {
        var data = reply.Json["data"]!;
        Assert.Equal(JsonValueKind.String, Kind(data["type"]));
        return data;
    }

    private static void CheckMethod(JsonNode method)
    {
        Assert.Equal(JsonValueKind.String, Kind(method["authentication_class"]));
        Assert.Equal(JsonValueKind.String, Kind(method["authentication_type"]));
    }

    private static byte[] CanonicalBase64(JsonNode? text)
    {
        var bytes = Convert.FromBase64String(text!.GetValue<string>());
        Assert.Equal(Convert.ToBase64String(bytes), text.GetValue<string>());
        return bytes;
    }

    // RFC 3339 with an offset
    private static void CheckTime(JsonNode? time)
    {
        Assert.Matches(@"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$", time!.GetValue<string>());
        Assert.True(DateTimeOffset.TryParse(time.GetValue<string>(), CultureInfo.InvariantCulture, out _));
    }

    private static JsonValueKind Kind(JsonNode? node) => node?.GetValueKind() ?? JsonValueKind.Null;
}

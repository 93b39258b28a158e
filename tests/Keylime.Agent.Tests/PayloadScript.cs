using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Attestation.Payloads;
using Keylime.Protocol;
using Keylime.Protocol.Payloads;
using Keylime.Tpm;

namespace Keylime.Agent.Tests;

/// <summary>One payload of the scripted service.</summary>
internal sealed record ScriptedPayload(string Name, long Version, byte[] Content)
{
    public byte[] Key { get; } = RandomNumberGenerator.GetBytes(32);

    /// <summary>The operator's part of the key.</summary>
    public byte[]? Share { get; init; }

    /// <summary>Smaller than the service's, so that a test has many.</summary>
    public int PartSize { get; init; } = 4 * 1024 * 1024;

    public IReadOnlyList<byte[]> Parts => field ??= Seal();

    private List<byte[]> Seal()
    {
        using var output = new MemoryStream();
        PayloadCipher.SealAsync(new MemoryStream(Content), output, Key, CancellationToken.None).GetAwaiter().GetResult();
        return [.. output.ToArray().Chunk(PartSize)];
    }
}

/// <summary>A service that attests, and releases payloads sealed to the agent's real TPM, its PCRs, its boot and its clock, as ours does; but for what a test changes.</summary>
internal sealed class PayloadScript(AgentRig rig)
{
    private PublicArea? _endorsementKey;
    private int _releases;

    public ConcurrentDictionary<string, ScriptedPayload> Payloads { get; } = new();

    /// <summary>Of the answer to the evidence; empty where there are no payloads.</summary>
    public string Digest { get; set; } = "1";

    public string Evaluation { get; set; } = "pass";

    public int Accepted { get; private set; }

    public ConcurrentQueue<(string Name, PayloadReport Report)> Reports { get; } = new();

    public ConcurrentQueue<ReleasedPayload> Released { get; } = new();

    /// <summary>What is offered in place of <see cref="Payloads"/>.</summary>
    public string? Offers { get; set; }

    /// <summary>Changes the release before it is sent.</summary>
    public Func<ReleasedPayload, ReleasedPayload> Alter { get; set; } = static r => r;

    /// <summary>Done when a release is made, before it is sent.</summary>
    public Action AfterRelease { get; set; } = static () => { };

    /// <summary>Answers in place of this, where it gives an answer.</summary>
    public Func<Received, Scripted?> Instead { get; set; } = static _ => null;

    public void Put(ScriptedPayload payload)
    {
        Payloads[payload.Name] = payload;
        Digest += "+";
    }

    public Scripted Answer(Received received)
    {
        if (Instead(received) is { } instead)
            return instead;
        var root = $"/v3.0/agents/{AgentRig.Id}/payloads";
        switch (received.Method, received.Path)
        {
            case ("GET", "/version"):
                return Scripted.Recorded(39);
            case ("POST", $"/v2.6/agents/{AgentRig.Id}"):
                _endorsementKey = PublicArea.Parse(Convert.FromBase64String(received.Json["ek_tpm"]!.GetValue<string>()));
                return Scripted.Json(200, AgentRig.Envelope(new JsonObject { ["blob"] = AgentRig.Blob(received) }).ToJsonString());
            case ("PUT", _):
                return Scripted.Recorded(2);
            case ("POST", "/v3.0/sessions"):
                return Scripted.Recorded(5);
            case ("PATCH", "/v3.0/sessions/9d9b248f-603b-4d22-8162-8aa6027ceddc"):
                return Scripted.Recorded(6);
            case ("POST", $"/v3.0/agents/{AgentRig.Id}/attestations"):
                var body = JsonNode.Parse(Scripted.Recorded(7).Body)!;
                body["data"]!["attributes"]!["evidence_requested"]!.AsArray().RemoveAt(1); // no boot log
                return Scripted.Json(201, body.ToJsonString()).With("Location", $"/v3.0/agents/{AgentRig.Id}/attestations/1");
            case ("PATCH", _):
                Accepted++;
                return Scripted.Json(202, JsonSerializer.Serialize(new
                {
                    data = new { type = "attestation", attributes = new { stage = "evaluation_complete", evaluation = Evaluation } },
                    meta = new { seconds_to_next_attestation = 5, payloads = Payloads.IsEmpty && Offers is null ? null : Digest },
                }));
        }

        if (received.Authorization is not { Length: > 10 } || !received.Path.StartsWith(root, StringComparison.Ordinal))
            return Scripted.Json(401, "{}");
        switch (received.Method, received.Path[root.Length..].Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            case ("GET", []):
                return Scripted.Json(200, Offers ?? JsonSerializer.Serialize(
                    new PayloadOffers([.. Payloads.Values.Select(static p => new PayloadOffer(p.Name, p.Version, p.Content.Length))]), PayloadJson.Default.PayloadOffers));
            case ("POST", [var name, "release"]) when Payloads.TryGetValue(name, out var payload):
                return Release(payload, JsonSerializer.Deserialize(received.Body, PayloadJson.Default.ReleaseRequest)!);
            case ("GET", [var name, "versions", var version, "parts", var part]) when Payloads.TryGetValue(name, out var payload) && version == $"{payload.Version}":
                return new Scripted(200, payload.Parts[int.Parse(part, System.Globalization.CultureInfo.InvariantCulture)], []);
            case ("POST", [var name, "report"]):
                Reports.Enqueue((name, JsonSerializer.Deserialize(received.Body, PayloadJson.Default.PayloadReport)!));
                return new Scripted(204, [], []);
            default:
                return Scripted.Json(404, """{"errors":[{"status":"404","detail":"There is no such payload."}]}""");
        }
    }

    /// <summary>What ours makes of a request that it grants.</summary>
    public ReleasedPayload Make(ScriptedPayload payload, ReleaseRequest request)
    {
        var (clock, pcrs) = ReadAsync(rig.Swtpm.OpenClient()).GetAwaiter().GetResult();
        var policy = new BootBoundPolicy(TpmAlgorithm.Sha256, pcrs.Selection.Pcrs.Zip(pcrs.Values).ToDictionary(), clock.ResetCount, clock.Milliseconds + 120_000);
        PayloadPart[] parts = [.. payload.Parts.Select(static p => new PayloadPart(Convert.ToHexStringLower(SHA256.HashData(p)), p.Length))];
        byte[] key = [.. payload.Key];
        for (var i = 0; payload.Share is { } share && i < key.Length; i++)
            key[i] ^= share[i];
        byte[] data = [.. key, .. PayloadBinding.Digest(request.Challenge, AgentId.Parse(AgentRig.Id), payload.Name, payload.Version, parts.Select(static p => p.Digest))];
        return new ReleasedPayload(
            $"r{Interlocked.Increment(ref _releases)}", payload.Name, payload.Version, payload.Content.Length, parts,
            new BootPolicyMessage("sha256", [.. policy.Selection.Pcrs], policy.ResetCount, policy.Clock), Message(policy.Seal(_endorsementKey!, data)), TimeProvider.System.GetUtcNow().AddMinutes(2))
        {
            Share = payload.Share is null ? null : Message(SharePolicy.Seal(_endorsementKey!, payload.Share)),
        };
    }

    private Scripted Release(ScriptedPayload payload, ReleaseRequest request)
    {
        var released = Make(payload, request);
        Released.Enqueue(released);
        AfterRelease();
        return new Scripted(200, JsonSerializer.SerializeToUtf8Bytes(Alter(released), PayloadJson.Default.ReleasedPayload), []);
    }

    private static SealedKey Message(WrappedSecret secret) => new(secret.Public.Encode(), secret.Duplicate.ToArray(), secret.Seed.ToArray());

    private static async Task<(ClockInfo Clock, PcrBlob Pcrs)> ReadAsync(TpmClient tpm)
    {
        await using (tpm)
            return (await tpm.ReadClockAsync(CancellationToken.None), await tpm.PcrReadAsync(new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0, 7, 16)), CancellationToken.None));
    }
}

using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Nodes;
using Keylime.Protocol;
using Keylime.Protocol.Payloads;
using Keylime.Tpm;

namespace Keylime.Functions.Tests;

/// <summary>What tests of payloads do again and again: an operator puts one with the tool, an agent asks for it and opens it.</summary>
internal static class PayloadBench
{
    public static readonly byte[] Secret = "the database's password\n"u8.ToArray();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Puts a secret with the operator's tool, for one node unless the arguments say otherwise.</summary>
    public static async Task<JsonNode> PutAsync(this OperatorTool tool, string name, byte[]? content, params string[] args)
    {
        var file = tool.PathOf(name + ".plain");
        await File.WriteAllBytesAsync(file, content ?? Secret, Cancel);
        return JsonNode.Parse(await tool.DoAsync(["payload", "put", name, "--file", file, "--output", "json", .. args]))!;
    }

    /// <returns>The whole answer to an attestation.</returns>
    public static async Task<JsonNode> AttestWholeAsync(this TestAgent agent)
    {
        var asked = await agent.AskedAsync();
        return (await agent.SubmitAsync(asked, agent.Collect(asked))).Expect(HttpStatusCode.Accepted);
    }

    public static string? PayloadsOf(JsonNode answer) => answer["meta"]?["payloads"]?.GetValue<string>();

    public static async Task<string[]> OffersAsync(this TestAgent agent) =>
        [.. (await agent.Service.Anonymous.SendAsync("GET", $"/v3.0/agents/{agent.Id}/payloads", token: agent.Token)).Expect(HttpStatusCode.OK)["payloads"]!.AsArray().Select(o => $"{o!["name"]} {o["version"]} {o["size"]}")];

    public static Task<Reply> AskForAsync(this TestAgent agent, string name, byte[] challenge, long version = 1) => agent.Service.Anonymous.SendAsync(
        "POST", $"/v3.0/agents/{agent.Id}/payloads/{name}/release", new JsonObject { ["version"] = version, ["challenge"] = Convert.ToBase64String(challenge) }, token: agent.Token);

    /// <summary>The code of a refusal; null of a yes.</summary>
    public static async Task<string?> RefusalAsync(this TestAgent agent, string name, long version = 1)
    {
        var reply = await agent.AskForAsync(name, RandomNumberGenerator.GetBytes(32), version);
        return reply.Status == HttpStatusCode.OK ? null : reply.Json["errors"]![0]!["code"]!.GetValue<string>();
    }

    public static async Task<ReleasedPayload> ReleasedAsync(this TestAgent agent, string name, byte[] challenge, long version = 1) =>
        JsonSerializer.Deserialize((await agent.AskForAsync(name, challenge, version)).Expect(HttpStatusCode.OK).ToJsonString(), PayloadJson.Default.ReleasedPayload)!;

    /// <summary>What the agent's TPM gives for an answer, or the exception that says why it does not.</summary>
    public static byte[] Unseal(this TestAgent agent, ReleasedPayload released)
    {
        Assert.True(TpmAlgorithms.TryFromProtocolName(released.Policy.Bank, out var bank));
        return agent.Tpm.Unseal(
            SealedArea.Parse(released.Key.Public), released.Key.Duplicate, released.Key.Seed, new PcrSelection(bank, PcrSet.Of([.. released.Policy.Pcrs])), released.Policy.ResetCount,
            released.Policy.Clock);
    }

    /// <summary>The parts of a payload, one behind the other.</summary>
    public static async Task<byte[]> CiphertextAsync(this TestAgent agent, ReleasedPayload released)
    {
        using var all = new MemoryStream();
        using var client = agent.Service.CreateClient(agent.Token);
        for (var i = 0; i < released.Parts.Count; i++)
            all.Write(await client.GetByteArrayAsync(new Uri($"/v3.0/agents/{agent.Id}/payloads/{released.Name}/versions/{released.Version}/parts/{i}", UriKind.Relative), Cancel));
        return all.ToArray();
    }

    public static async Task<byte[]> OpenAsync(byte[] ciphertext, byte[] key)
    {
        using var plain = new MemoryStream();
        await PayloadCipher.OpenAsync(new MemoryStream(ciphertext), plain, key, Cancel);
        return plain.ToArray();
    }

    /// <summary>Asks for a payload, and opens it as an agent does.</summary>
    public static async Task<byte[]> FetchAsync(this TestAgent agent, string name, long version = 1)
    {
        var challenge = RandomNumberGenerator.GetBytes(PayloadBinding.ChallengeSize);
        var released = await agent.ReleasedAsync(name, challenge, version);
        var opened = agent.Unseal(released);
        Assert.Equal(PayloadBinding.Digest(challenge, AgentId.Parse(agent.Id), name, version, released.Parts.Select(static p => p.Digest)), opened[PayloadBinding.KeySize..]);
        return await OpenAsync(await agent.CiphertextAsync(released), opened[..PayloadBinding.KeySize]);
    }
}

using System.Net;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Keylime.Protocol.Payloads;

namespace Keylime.Functions.Tests;

/// <summary>Changes of payloads, and decisions on them.</summary>
internal static class OfPayloads
{
    private static readonly byte[] Key = RandomNumberGenerator.GetBytes(PayloadBinding.KeySize);
    private static readonly byte[] Challenge = RandomNumberGenerator.GetBytes(PayloadBinding.ChallengeSize);

    public static Dictionary<string, Change> Changes { get; } = new()
    {
        ["put a payload"] = new(
            _ => Task.CompletedTask,
            (s, _) => PutAsync(s, once: false),
            async s =>
            {
                Assert.Equal(1, (await s.Operator.SendAsync("GET", "/v1/payloads/p")).Expect(HttpStatusCode.OK)["version"]!.GetValue<int>());
                Assert.Equal(1, await s.CountEventsAsync("payload.changed"));
            }),
        ["revoke a payload"] = new(
            async a => Assert.True(await PutAsync(a.Service, once: false)),
            async (s, _) => (await s.Operator.SendAsync("POST", "/v1/payloads/p/revoke")).Status == HttpStatusCode.OK,
            async s =>
            {
                Assert.NotNull((await s.Operator.SendAsync("GET", "/v1/payloads/p")).Expect(HttpStatusCode.OK)["revokedAt"]);
                Assert.Equal((1, 1), (await s.CountEventsAsync("payload.changed"), await s.CountEventsAsync("payload.revoked")));
            }),
        ["release a payload once"] = new(
            PreparedAsync,
            async (s, a) => (await At(s, a).AskForAsync("p", Challenge)).Status == HttpStatusCode.OK,
            async s =>
            {
                Assert.Equal("granted", Assert.Single((await s.Operator.SendAsync("GET", "/v1/payloads/p/releases")).Expect(HttpStatusCode.OK)["releases"]!.AsArray())!["code"]!.GetValue<string>());
                Assert.Equal(1, await s.CountEventsAsync("payload.released"));
            }),
        ["report on a payload"] = new(
            async a =>
            {
                await PreparedAsync(a);
                (await a.AskForAsync("p", Challenge)).Expect(HttpStatusCode.OK);
            },
            async (s, a) =>
            {
                // The number of the release is in the answer, which is the same for the same challenge.
                var reply = await At(s, a).AskForAsync("p", Challenge);
                if (reply.Status != HttpStatusCode.OK)
                    return false;
                var report = new JsonObject { ["version"] = 1, ["release"] = reply.Json["release"]!.GetValue<string>(), ["outcome"] = "written" };
                return (await s.Anonymous.SendAsync("POST", $"/v3.0/agents/{a.Id}/payloads/p/report", report, token: a.Token)).Status == HttpStatusCode.NoContent;
            },
            async s =>
            {
                Assert.Equal("written", Assert.Single((await s.Operator.SendAsync("GET", "/v1/payloads/p/releases")).Expect(HttpStatusCode.OK)["releases"]!.AsArray())!["outcome"]!.GetValue<string>());
                Assert.Equal(1, await s.CountEventsAsync("payload.delivered"));
            }),
    };

    // The same machine with the same token, at the process that came next.
    private static TestAgent At(TestService service, TestAgent agent)
    {
        var here = agent.At(service);
        here.Token = agent.Token;
        return here;
    }

    private static async Task PreparedAsync(TestAgent agent)
    {
        await agent.EnrolAsync();
        await agent.AuthenticateAsync();
        await agent.AttestAsync();
        Assert.True(await PutAsync(agent.Service, once: true));
    }

    // The same bytes each time: a request that is made again is the same request.
    private static async Task<bool> PutAsync(TestService service, bool once)
    {
        var vault = (await service.Operator.SendAsync("GET", "/v1/vault/key")).Expect(HttpStatusCode.OK);
        var ciphertext = new byte[PayloadCipher.SealedLength(0)];
        var digest = Convert.ToHexStringLower(SHA256.HashData(ciphertext));
        if ((await service.Operator.SendAsync("PUT", $"/v1/payload-parts/{digest}", ciphertext, "application/octet-stream")).Status != HttpStatusCode.NoContent)
            return false;
        return (await service.Operator.SendAsync("PUT", "/v1/payloads/p", new JsonObject
        {
            ["size"] = 0,
            ["parts"] = new JsonArray(new JsonObject { ["digest"] = digest, ["size"] = ciphertext.Length }),
            ["keyVersion"] = vault["version"]!.GetValue<string>(),
            ["wrappedKey"] = Convert.ToBase64String(Wrapped(vault["publicKey"]!.GetValue<string>())),
            ["for"] = new JsonObject { ["nodes"] = new JsonArray("node") },
            ["terms"] = new JsonObject { ["require"] = new JsonArray("runtime"), ["once"] = once },
        })).Status == HttpStatusCode.OK;
    }

    private static readonly System.Collections.Concurrent.ConcurrentDictionary<string, byte[]> Made = new();

    private static byte[] Wrapped(string publicKey) => Made.GetOrAdd(publicKey, static key =>
    {
        using var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(Convert.FromBase64String(key), out _);
        return rsa.Encrypt(Key, RSAEncryptionPadding.OaepSHA256);
    });
}

using System.Text;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Evidence of a software TPM, as it should be.</summary>
internal static class Evidence
{
    public static readonly byte[] Nonce = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];

    public static readonly PcrSelection Asked = new(TpmAlgorithm.Sha256, PcrSet.Of(0, 7, 10));

    public static AttestationKey Key(SoftwareTpm tpm)
    {
        Assert.True(AttestationKey.TryCreate(tpm.AttestationKey, out var key, out var refusal), refusal?.Detail);
        return key;
    }

    public static QuoteEvidence Quote(SoftwareTpm tpm, PcrSelection? selection = null, byte[]? nonce = null)
    {
        var (message, signature, pcrs) = tpm.Quote(nonce ?? Nonce, selection ?? Asked);
        return new QuoteEvidence(message, signature, pcrs);
    }

    public static QuoteResult Verify(SoftwareTpm tpm, QuoteEvidence evidence, PcrSelection? asked = null)
    {
        using var key = Key(tpm);
        return Attestation.Quote.Verify(key, new QuoteRequest(Nonce, asked ?? Asked, key.Scheme), evidence);
    }

    public static VerifiedQuote Verified(SoftwareTpm tpm) => Assert.IsType<QuoteResult.Verified>(Verify(tpm, Quote(tpm))).Quote;

    public static string Refusal(QuoteResult result) => Assert.IsType<QuoteResult.Rejected>(result).Finding.Code;
}

internal static class Lists
{
    public static readonly DateTimeOffset At = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    public static ImaResult Appraise(VerifiedQuote quote, ReadOnlyMemory<byte> text, ImaCheckpoint? start, RuntimePolicy policy) =>
        ImaLog.Appraise(quote, text, ImaListFormat.Text, start, policy, At);

    public static ImaResult AppraiseBinary(VerifiedQuote quote, ReadOnlyMemory<byte> entries, RuntimePolicy policy) =>
        ImaLog.Appraise(quote, entries, ImaListFormat.Binary, null, policy, At);

    /// <summary>The list as it is, up to its end.</summary>
    public static ImaResult Appraise(Keylime.Testing.SoftwareTpm tpm, List list, RuntimePolicy policy, ImaCheckpoint? start = null) =>
        Appraise(list.QuoteAfter(tpm, list.Lines.Count), (byte[])[.. list.Lines.Skip((int)(start?.Entries ?? 0)).SelectMany(l => l)], start, policy);

    /// <summary>What speaks against it, in order.</summary>
    public static string Codes(this ImaResult result) => string.Join(' ', result.Findings.Select(f => f.Code));
}

internal static class Policies
{
    public static RuntimePolicy Of(IEnumerable<(string Path, string[] Digests)> digests, params string[] excludes)
    {
        Assert.True(RuntimePolicy.TryParse(Text(digests, "sha1", excludes), out var policy, out var error), error);
        return policy;
    }

    /// <summary>The usual members, with those of the text in place of or beside them.</summary>
    public static RuntimePolicy With(string members) => Parse(TextWith(members));

    public static RuntimePolicy Parse(byte[] text)
    {
        Assert.True(RuntimePolicy.TryParse(text, out var policy, out var error), error);
        return policy;
    }

    public static byte[] TextWith(string members)
    {
        var policy = System.Text.Json.Nodes.JsonNode.Parse("""
            {"meta":{"version":1,"generator":3},"release":0,"digests":{},"excludes":[],"keyrings":{},
             "ima":{"ignored_keyrings":[],"log_hash_alg":"sha1","dm_policy":null},"ima-buf":{},"verification-keys":""}
            """)!.AsObject();
        foreach (var (name, value) in System.Text.Json.Nodes.JsonNode.Parse(members)!.AsObject())
            policy[name] = value?.DeepClone();
        return Encoding.UTF8.GetBytes(policy.ToJsonString());
    }

    public static RuntimePolicy Allowing(params string[] paths) =>
        Of(paths.Select(p => (p, new[] { Convert.ToHexStringLower(List.DigestOf(p)) })));

    public static byte[] Text(IEnumerable<(string Path, string[] Digests)> digests, string logHash, params string[] excludes) =>
        Encoding.UTF8.GetBytes(new System.Text.Json.Nodes.JsonObject
        {
            ["meta"] = new System.Text.Json.Nodes.JsonObject { ["version"] = 1 },
            ["release"] = 0,
            ["digests"] = new System.Text.Json.Nodes.JsonObject(digests.Select(d => KeyValuePair.Create(
                d.Path, (System.Text.Json.Nodes.JsonNode?)new System.Text.Json.Nodes.JsonArray([.. d.Digests.Select(x => (System.Text.Json.Nodes.JsonNode?)x)])))),
            ["excludes"] = new System.Text.Json.Nodes.JsonArray([.. excludes.Select(x => (System.Text.Json.Nodes.JsonNode?)x)]),
            ["ima"] = new System.Text.Json.Nodes.JsonObject { ["log_hash_alg"] = logHash },
        }.ToJsonString());
}

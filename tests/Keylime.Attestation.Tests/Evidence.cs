using System.Security.Cryptography;
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

/// <summary>Lines of a measurement list, and PCR 10 extended by them.</summary>
internal sealed class List
{
    private readonly List<byte[]> _lines = [];

    public IReadOnlyList<byte[]> Lines => _lines;

    public byte[] Text => [.. _lines.SelectMany(l => l)];

    /// <summary>What PCR 10 of a bank holds after the first lines.</summary>
    public byte[] Pcr(TpmAlgorithm bank, int lines)
    {
        var pcr = new byte[bank.DigestSize()];
        foreach (var data in _data.Take(lines))
        {
            var digest = data is null ? Enumerable.Repeat((byte)0xff, pcr.Length).ToArray() : CryptographicOperations.HashData(bank.HashName(), data);
            pcr = CryptographicOperations.HashData(bank.HashName(), (byte[])[.. pcr, .. digest]);
        }

        return pcr;
    }

    private readonly List<byte[]?> _data = [];

    public static byte[] DigestOf(string path) => SHA256.HashData(Encoding.UTF8.GetBytes(path));

    public List Add(string path) => Add(Encoding.UTF8.GetBytes(path), DigestOf(path));

    public List Add(byte[] path, byte[] digest, byte[]? signature = null, string logHash = "SHA1")
    {
        var data = ImaEmulator.TemplateData(digest, path, signature);
        var template = signature is null ? "ima-ng" : "ima-sig";
        var hash = CryptographicOperations.HashData(new HashAlgorithmName(logHash), data);
        byte[] line =
        [
            .. Encoding.ASCII.GetBytes($"10 {Convert.ToHexStringLower(hash)} {template} sha256:{Convert.ToHexStringLower(digest)} "), .. path,
            .. signature is null ? [] : Encoding.ASCII.GetBytes(" " + Convert.ToHexStringLower(signature)), (byte)'\n',
        ];
        _lines.Add(line);
        _data.Add(data);
        return this;
    }

    public List Violate(string path)
    {
        _lines.Add(Encoding.UTF8.GetBytes($"10 {new string('0', 40)} ima-ng sha256:{new string('0', 64)} {path}\n"));
        _data.Add(null);
        return this;
    }

    /// <summary>A quote of a TPM that has measured the first lines.</summary>
    public VerifiedQuote QuoteAfter(SoftwareTpm tpm, int lines, TpmAlgorithm bank = TpmAlgorithm.Sha256)
    {
        tpm.Set(bank, 10, Pcr(bank, lines));
        var asked = new PcrSelection(bank, PcrSet.Of(10));
        return Assert.IsType<QuoteResult.Verified>(Evidence.Verify(tpm, Evidence.Quote(tpm, asked), asked)).Quote;
    }
}

internal static class Policies
{
    public static RuntimePolicy Of(IEnumerable<(string Path, string[] Digests)> digests, params string[] excludes)
    {
        Assert.True(RuntimePolicy.TryParse(Text(digests, "sha1", excludes), out var policy, out var error), error);
        return policy;
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

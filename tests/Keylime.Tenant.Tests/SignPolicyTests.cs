using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;

namespace Keylime.Tenant.Tests;

/// <summary><c>keylime policy sign</c> and <c>verify</c>.</summary>
public sealed class SignPolicyTests
{
    private static readonly string Policy = ComparePoliciesTests.Runtime($"\"/usr/bin/a\":[\"{new string('a', 64)}\"]");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("ecdsa")]
    [InlineData("rsa")]
    public async Task A_key_signs_and_its_public_half_verifies(string kind)
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var policy = await WriteAsync(bench, "policy.json", Policy);
        var (key, public1) = await KeyAsync(bench, "alice", kind);
        var (_, other) = await KeyAsync(bench, "bob", "ecdsa");
        var signed = bench.PathOf("signed.json");
        Assert.Equal((0, "", ""), await bench.RunAsync("policy", "sign", policy, "--key", key, "--out", signed));
        var (exit, text, _) = await bench.RunAsync("policy", "verify", signed, "--key", other, "--key", public1, "--out", bench.PathOf("payload.json"));
        Assert.Equal((0, $"signed by {public1}\n"), (exit, text));
        Assert.Equal(Policy, await File.ReadAllTextAsync(bench.PathOf("payload.json"), Cancel)); // byte for byte
        File.Delete(bench.PathOf("payload.json"));

        // Another's key, and a text that was changed since.
        await RefusedAsync(signed, other);
        var altered = JsonNode.Parse(await File.ReadAllTextAsync(signed, Cancel))!;
        altered["payload"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(Policy.Replace("/usr/bin/a", "/usr/bin/b", StringComparison.Ordinal)));
        await RefusedAsync(await WriteAsync(bench, "altered.json", altered.ToJsonString()), public1);
        altered["payload"] = Convert.ToBase64String(Encoding.UTF8.GetBytes(Policy));
        altered["payloadType"] = "text/plain";
        await RefusedAsync(await WriteAsync(bench, "altered.json", altered.ToJsonString()), public1);

        async Task RefusedAsync(string file, string by)
        {
            var refused = await bench.RunAsync("policy", "verify", file, "--key", by, "--out", bench.PathOf("payload.json"));
            Assert.Equal((Exits.Refused, ""), (refused.Exit, refused.Out));
            Assert.Contains("nobody of the given ones signed it", refused.Error, StringComparison.Ordinal);
            Assert.False(File.Exists(bench.PathOf("payload.json")));
        }
    }

    [Fact]
    public async Task A_second_signature_goes_beside_the_first_until_there_is_no_room()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var (alice, alicePublic) = await KeyAsync(bench, "alice", "ecdsa");
        var (bob, bobPublic) = await KeyAsync(bench, "bob", "rsa");
        var signed = bench.PathOf("signed.json");
        await bench.RunAsync("policy", "sign", await WriteAsync(bench, "policy.json", Policy), "--key", alice, "--out", signed);
        for (var i = 1; i < 16; i++)
            Assert.Equal(0, (await bench.RunAsync("policy", "sign", signed, "--key", bob, "--out", signed)).Exit);
        Assert.Equal($"signed by {alicePublic}\nsigned by {bobPublic}\n", (await bench.RunAsync("policy", "verify", signed, "--key", bobPublic, "--key", alicePublic)).Out);
        var full = await File.ReadAllTextAsync(signed, Cancel);
        var (exit, _, error) = await bench.RunAsync("policy", "sign", signed, "--key", bob, "--out", signed);
        Assert.Equal(Exits.Usage, exit);
        Assert.Contains("it has 16 signatures", error, StringComparison.Ordinal);
        Assert.Equal(full, await File.ReadAllTextAsync(signed, Cancel));
    }

    [Fact]
    public async Task A_certificate_travels_with_the_signature_and_counts_by_its_authority_or_by_itself()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        using var authority = Authority("CN=Policies");
        using var other = Authority("CN=Others");
        var (key, _) = await KeyAsync(bench, "alice", "ecdsa");
        using var alice = ECDsa.Create();
        alice.ImportFromPem(await File.ReadAllTextAsync(key, Cancel));
        var request = new CertificateRequest("CN=alice", alice, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        using var issued = request.Create(authority, Bench.Now.AddDays(-1), Bench.Now.AddDays(1), [1, 2]);
        var certificate = await WriteAsync(bench, "alice.crt", issued.ExportCertificatePem());
        var (root, otherRoot) = (await WriteAsync(bench, "root.crt", authority.ExportCertificatePem()), await WriteAsync(bench, "other.crt", other.ExportCertificatePem()));
        var signed = bench.PathOf("signed.json");
        var policy = await WriteAsync(bench, "policy.json", Policy);
        Assert.Equal(0, (await bench.RunAsync("policy", "sign", policy, "--key", key, "--cert", certificate, "--out", signed)).Exit);
        Assert.Equal((0, "signed by CN=alice (of CN=Policies)\n", ""), await bench.RunAsync("policy", "verify", signed, "--ca", otherRoot, "--ca", root));
        Assert.Equal((0, $"signed by {certificate}\n", ""), await bench.RunAsync("policy", "verify", signed, "--key", certificate));
        Assert.Equal(Exits.Refused, (await bench.RunAsync("policy", "verify", signed, "--ca", otherRoot)).Exit);

        // Wrong parts: another's certificate; no authority; what is no certificate.
        var (bob, _) = await KeyAsync(bench, "bob", "ecdsa");
        var wrong = await bench.RunAsync("policy", "sign", policy, "--key", bob, "--cert", certificate, "--out", bench.PathOf("none.json"));
        Assert.Equal(Exits.Usage, wrong.Exit);
        Assert.Contains("'CN=alice' is of another key", wrong.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(bench.PathOf("none.json")));
        foreach (var notOne in (string[])[certificate, key, bench.PathOf("missing")])
            Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "verify", signed, "--ca", notOne)).Exit);
    }

    [Fact]
    public async Task What_the_service_would_refuse_is_not_signed_nor_with_what_is_no_key()
    {
        await using var bench = await Bench.StartAsync(_ => (404, Bench.Problem(404, "no such policy")));
        var (key, public1) = await KeyAsync(bench, "alice", "ecdsa");
        var policy = await WriteAsync(bench, "policy.json", Policy);
        var outFile = bench.PathOf("signed.json");
        foreach (var (name, text) in ((string, string)[])[("cut.json", Policy[..^5]), ("list.json", "[]"), ("text.json", "policy"), ("boot.json", """{"events":7}"""), ("layers.json", """{"layers":[]}"""), ("envelope.json", """{"payload":"!"}""")])
        {
            var bad = await WriteAsync(bench, name, text);
            var (exit, _, error) = await bench.RunAsync("policy", "sign", bad, "--key", key, "--out", outFile);
            Assert.Equal(Exits.Usage, exit);
            Assert.Contains(bad, error, StringComparison.Ordinal);
            Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "verify", bad, "--key", public1, "--out", outFile)).Exit);
        }

        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "sign", bench.PathOf("no/such"), "--key", key, "--out", outFile)).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "sign", policy, "--key", public1, "--out", outFile)).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "sign", policy, "--key", bench.PathOf("missing"), "--out", outFile)).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "verify", policy, "--key", public1, "--out", outFile)).Exit); // signed by nobody
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "verify", policy, "--out", outFile)).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "verify", policy, "--key", key, "--out", outFile)).Exit); // a private key
        Assert.False(File.Exists(outFile));
    }

    private static async Task<(string Private, string Public)> KeyAsync(Bench bench, string name, string kind)
    {
        using AsymmetricAlgorithm key = kind == "rsa" ? RSA.Create(2048) : ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return (await WriteAsync(bench, name + ".key", key.ExportPkcs8PrivateKeyPem()), await WriteAsync(bench, name + ".pub", key.ExportSubjectPublicKeyInfoPem()));
    }

    private static X509Certificate2 Authority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        return request.CreateSelfSigned(Bench.Now.AddDays(-2), Bench.Now.AddDays(2));
    }

    private static Task<string> WriteAsync(Bench bench, string name, string text) => ComparePoliciesTests.WriteAsync(bench, name, text);
}

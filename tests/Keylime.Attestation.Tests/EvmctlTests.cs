using System.Security.Cryptography;
using System.Text;

namespace Keylime.Attestation.Tests;

/// <summary>evmctl of ima-evm-utils, the tool that the field signs files with: its signatures pass ours, ours pass its, and key ids are the same.</summary>
public sealed class EvmctlTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("keylime-evmctl-").FullName;

    public void Dispose() => Directory.Delete(_folder, true);

    [Theory]
    [InlineData("rsa", "sha1")]
    [InlineData("rsa", "sha224")]
    [InlineData("rsa", "sha256")]
    [InlineData("rsa", "sha512")]
    [InlineData("prime256v1", "sha256")]
    [InlineData("prime256v1", "sha512")]
    [InlineData("secp384r1", "sha384")]
    [InlineData("secp521r1", "sha256")]
    [InlineData("secp256k1", "sha256")]
    public async Task Its_signature_passes_ours(string key, string hash)
    {
        await MakeKeyAsync(key);
        await FileKeys.RunAsync(_folder, "evmctl", "ima_sign", "--sigfile", "-a", hash, "--key", "key.pem", "file");
        var signature = Parse(out var digest, await DigestAsync(hash));
        var bare = FileKeys.Read(Bytes("public.pem"));
        Assert.Equal(bare.Id, (uint)signature.KeyId); // the id that evmctl computes is the one that we compute
        Assert.Equal(2, signature.Version);
        Assert.IsType<SignatureResult.Verified>(FileKeys.Set(bare).Verify(signature, digest, Encoding.ASCII.GetBytes(hash), false));

        await FileKeys.RunAsync(_folder, "evmctl", "ima_sign", "--sigfile", "-a", hash, "--key", "key.pem", "--keyid-from-cert", "certificate.pem", "file");
        Assert.Equal(FileKeys.Read(Bytes("certificate.pem")).Id, (uint)Parse(out _, digest).KeyId);
        Assert.Equal(FileKeys.Read(Bytes("certificate.der")).Id, FileKeys.Read(Bytes("certificate.pem")).Id);
    }

    [Theory]
    [InlineData("sha1")]
    [InlineData("sha256")]
    public async Task Its_signature_of_version_1_passes_ours_and_ours_its(string hash)
    {
        await MakeKeyAsync("rsa");
        await FileKeys.RunAsync(_folder, "openssl", "rsa", "-in", "key.pem", "-traditional", "-out", "old.pem");
        await FileKeys.RunAsync(_folder, "evmctl", "ima_sign", "--rsa", "--sigfile", "-a", hash, "--key", "old.pem", "file");
        var signature = Parse(out var digest, await DigestAsync(hash));
        var key = FileKeys.Read(Bytes("public.pem"));
        Assert.Equal((1, key.FirstId), (signature.Version, signature.KeyId));
        Assert.IsType<SignatureResult.Verified>(FileKeys.Set(key).Verify(signature, digest, Encoding.ASCII.GetBytes(hash), false));

        using var rsa = RSA.Create();
        rsa.ImportFromPem(Encoding.ASCII.GetString(Bytes("key.pem")));
        await File.WriteAllBytesAsync(Path.Combine(_folder, "file.sig"), FileKeys.SignFirst(rsa, digest, hash == "sha256"), TestContext.Current.CancellationToken);
        Assert.Contains("verification is OK", await FileKeys.RunAsync(_folder, "evmctl", "ima_verify", "--rsa", "--sigfile", "-a", hash, "-k", "public.pem", "file"));
    }

    [Theory]
    [InlineData("rsa", KernelHash.Sha256)]
    [InlineData("rsa", KernelHash.Sha512)]
    [InlineData("prime256v1", KernelHash.Sha256)]
    [InlineData("secp384r1", KernelHash.Sha384)]
    public async Task Ours_passes_its(string key, KernelHash hash)
    {
        await MakeKeyAsync(key);
        using AsymmetricAlgorithm signer = key == "rsa" ? RSA.Create() : ECDsa.Create();
        signer.ImportFromPem(Encoding.ASCII.GetString(Bytes("key.pem")));
        var bytes = FileKeys.Sign(signer, hash, await DigestAsync(hash.Name()), id: FileKeys.Read(Bytes("certificate.der")).Id);
        await File.WriteAllBytesAsync(Path.Combine(_folder, "file.sig"), bytes, TestContext.Current.CancellationToken);
        Assert.Contains("verification is OK", await FileKeys.RunAsync(_folder, "evmctl", "ima_verify", "--sigfile", "-a", hash.Name(), "-k", "certificate.der", "file"));
    }

    private async Task MakeKeyAsync(string key)
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "file"), "what is signed\n", TestContext.Current.CancellationToken);
        await (key == "rsa"
            ? FileKeys.RunAsync(_folder, "openssl", "genrsa", "-out", "key.pem", "2048")
            : FileKeys.RunAsync(_folder, "openssl", "ecparam", "-name", key, "-genkey", "-noout", "-out", "key.pem"));
        await FileKeys.RunAsync(_folder, "openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "public.pem");
        await FileKeys.RunAsync(_folder, "openssl", "req", "-x509", "-key", "key.pem", "-subj", "/CN=signer", "-out", "certificate.pem");
        await FileKeys.RunAsync(_folder, "openssl", "x509", "-in", "certificate.pem", "-outform", "der", "-out", "certificate.der");
    }

    private byte[] Bytes(string name) => File.ReadAllBytes(Path.Combine(_folder, name));

    private ImaSignature Parse(out byte[] digest, byte[] known)
    {
        digest = known;
        Assert.True(ImaSignature.TryParse(Bytes("file.sig"), out var signature, out var error), error);
        return signature;
    }

    // By openssl, which knows SHA-224 too.
    private async Task<byte[]> DigestAsync(string hash) =>
        Convert.FromHexString((await FileKeys.RunAsync(_folder, "openssl", "dgst", $"-{hash}", "-r", "file")).Split(' ')[0]);
}

using System.Security.Cryptography;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Keys;

internal sealed class LocalVault(string folder, TimeProvider clock) : IVault
{
    public async Task<VaultKey> WrappingKeyAsync(CancellationToken cancel)
    {
        PrivateFiles.CreateFolder(folder);
        var newest = Directory.EnumerateFiles(folder, "*.wrap").Order(StringComparer.Ordinal).LastOrDefault();
        if (newest is null)
            return await RotateWrappingKeyAsync(cancel);
        using var rsa = RSA.Create();
        rsa.ImportPkcs8PrivateKey(await File.ReadAllBytesAsync(newest, cancel), out _);
        return new VaultKey(Path.GetFileNameWithoutExtension(newest), rsa.ExportSubjectPublicKeyInfo());
    }

    public async Task<Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel)
    {
        var path = Path.Combine(folder, version + ".wrap");
        if (!File.Exists(path))
            return new Unwrapped.NoSuchVersion("there is none");
        using var rsa = RSA.Create();
        rsa.ImportPkcs8PrivateKey(await File.ReadAllBytesAsync(path, cancel), out _);
        try
        {
            return new Unwrapped.Key(rsa.Decrypt(wrapped.Span, RSAEncryptionPadding.OaepSHA256));
        }
        catch (CryptographicException)
        {
            return new Unwrapped.NotWrapped("it does not decrypt");
        }
    }

    public async Task<VaultKey> RotateWrappingKeyAsync(CancellationToken cancel)
    {
        PrivateFiles.CreateFolder(folder);
        using var rsa = RSA.Create(3072);
        var version = $"{clock.GetUtcNow().UtcTicks:x16}";
        await PrivateFiles.WriteAsync(Path.Combine(folder, version + ".wrap"), rsa.ExportPkcs8PrivateKey(), cancel);
        return new VaultKey(version, rsa.ExportSubjectPublicKeyInfo());
    }

    public Task<VaultKey> SigningKeyAsync(CancellationToken cancel) => throw new NotSupportedException();

    public Task<VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel) => throw new NotSupportedException();
}

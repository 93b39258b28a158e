using System.Security.Cryptography;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Keys;

/// <summary>
/// Keys in files that nobody else may read, one for each version: <c>wrap-VERSION.p8</c> (RSA-3072) and <c>sign-VERSION.p8</c> (P-256), PKCS#8. The first of a kind is made when it is wanted.
/// Versions are named so that the newest comes last.
/// </summary>
internal sealed class LocalVault(string folder, TimeProvider clock) : IVault, IDisposable
{
    private const string Wrap = "wrap";
    private const string Sign = "sign";
    private const string Ending = ".p8";
    private const int WrapBits = 3072;
    private const int MinWrapBits = 2048;
    private const string P256 = "1.2.840.10045.3.1.7"; // RFC 5480, section 2.1.1.1

    private readonly SemaphoreSlim _making = new(1);

    public Task<VaultKey> WrappingKeyAsync(CancellationToken cancel) => NewestAsync(Wrap, cancel);

    public Task<VaultKey> SigningKeyAsync(CancellationToken cancel) => NewestAsync(Sign, cancel);

    public async Task<VaultKey> RotateWrappingKeyAsync(CancellationToken cancel)
    {
        await _making.WaitAsync(cancel);
        try
        {
            return await MakeAsync(Wrap, cancel);
        }
        finally
        {
            _making.Release();
        }
    }

    public async Task<Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel)
    {
        var path = PathOf(Wrap, version);
        if (!VaultKey.IsVersion(version) || !File.Exists(path))
            return new Unwrapped.NoSuchVersion("There is no file of it.");
        using var key = RSA.Create();
        if (!await TryReadAsync(key, path, cancel))
            return new Unwrapped.NoSuchVersion("Its file holds no key.");
        try
        {
            return new Unwrapped.Key(key.Decrypt(wrapped.Span, RSAEncryptionPadding.OaepSHA256));
        }
        catch (CryptographicException)
        {
            return new Unwrapped.NotWrapped("It does not decrypt.");
        }
    }

    public async Task<VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel)
    {
        var (version, _) = await NewestAsync(Sign, cancel);
        using var key = ECDsa.Create();
        return await TryReadAsync(key, PathOf(Sign, version), cancel)
            ? new VaultSignature(version, key.SignData(data.Span, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation))
            : throw new VaultUnavailableException($"'{PathOf(Sign, version)}' holds no key.");
    }

    public void Dispose() => _making.Dispose();

    // A damaged file is in the way of its own version only.
    private async Task<VaultKey> NewestAsync(string kind, CancellationToken cancel)
    {
        if (await FindNewestAsync(kind, cancel) is { } there)
            return there;
        await _making.WaitAsync(cancel);
        try
        {
            return await FindNewestAsync(kind, cancel) ?? await MakeAsync(kind, cancel);
        }
        finally
        {
            _making.Release();
        }
    }

    private async Task<VaultKey?> FindNewestAsync(string kind, CancellationToken cancel)
    {
        var files = Directory.Exists(folder) ? Directory.GetFiles(folder, kind + "-*" + Ending) : [];
        foreach (var path in files.OrderDescending(StringComparer.Ordinal))
        {
            using AsymmetricAlgorithm key = kind == Wrap ? RSA.Create() : ECDsa.Create();
            if (await TryReadAsync(key, path, cancel))
                return new VaultKey(Path.GetFileName(path)[(kind.Length + 1)..^Ending.Length], key.ExportSubjectPublicKeyInfo());
        }

        return files.Length == 0 ? null : throw new VaultUnavailableException($"None of the {files.Length} files '{kind}-*{Ending}' in '{folder}' holds a key.");
    }

    private async Task<VaultKey> MakeAsync(string kind, CancellationToken cancel)
    {
        PrivateFiles.CreateFolder(folder);
        using AsymmetricAlgorithm key = kind == Wrap ? RSA.Create(WrapBits) : ECDsa.Create(ECCurve.NamedCurves.nistP256);

        // Behind every other one, whatever the clock says, and of a name that no other process takes.
        var last = Directory.GetFiles(folder, kind + "-*" + Ending).Select(path => Path.GetFileName(path)[(kind.Length + 1)..]).Max(StringComparer.Ordinal);
        var at = (ulong)clock.GetUtcNow().UtcTicks;
        if (last is { Length: > 16 } && ulong.TryParse(last.AsSpan(0, 16), System.Globalization.NumberStyles.AllowHexSpecifier, null, out var former) && former >= at)
            at = former + 1;
        var version = $"{at:x16}{RandomNumberGenerator.GetHexString(8, lowercase: true)}";
        var plain = key.ExportPkcs8PrivateKey();
        try
        {
            await PrivateFiles.WriteAsync(PathOf(kind, version), plain, cancel);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VaultUnavailableException($"A key cannot be kept in '{folder}': {e.Message}", null, e);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(plain);
        }

        return new VaultKey(version, key.ExportSubjectPublicKeyInfo());
    }

    private static async Task<bool> TryReadAsync(AsymmetricAlgorithm key, string path, CancellationToken cancel)
    {
        try
        {
            var bytes = await File.ReadAllBytesAsync(path, cancel);
            try
            {
                key.ImportPkcs8PrivateKey(bytes, out _);
                return key is ECDsa ecdsa ? ecdsa.ExportParameters(includePrivateParameters: false).Curve.Oid.Value == P256 : key.KeySize >= MinWrapBits;
            }
            finally
            {
                CryptographicOperations.ZeroMemory(bytes);
            }
        }
        catch (CryptographicException)
        {
            return false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new VaultUnavailableException($"'{path}' cannot be read: {e.Message}", null, e);
        }
    }

    private string PathOf(string kind, string version) => Path.Combine(folder, $"{kind}-{version}{Ending}");
}

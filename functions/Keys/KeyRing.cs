using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Keys;

/// <summary>
/// One master key, and a key derived from it for each purpose. The master is in a file that nobody else may read; or, where several instances share a store, in that store, wrapped for the vault.
/// </summary>
internal sealed class KeyRing : IKeyRing
{
    private const int Bytes = 32;
    private const int NonceSize = 12;
    private const int TagSize = 16;

    private readonly byte[] _master;
    private readonly ConcurrentDictionary<string, byte[]> _keys = new();

    private KeyRing(byte[] master) => _master = master;

    /// <exception cref="InvalidDataException">The file is there and holds no key.</exception>
    public static KeyRing LoadOrCreate(string folder)
    {
        PrivateFiles.CreateFolder(folder);
        var path = Path.Combine(folder, "mac.key");
        if (!File.Exists(path))
            PrivateFiles.Write(path, RandomNumberGenerator.GetBytes(Bytes));

        var master = File.ReadAllBytes(path);
        return master.Length == Bytes ? new KeyRing(master) : throw new InvalidDataException($"'{path}' has {master.Length} bytes: {Bytes} are expected.");
    }

    /// <summary>The one that all instances share: whoever comes first makes it.</summary>
    /// <exception cref="InvalidDataException">The vault cannot unwrap what is stored.</exception>
    /// <exception cref="VaultUnavailableException">The vault does not answer.</exception>
    public static async Task<KeyRing> LoadOrCreateAsync(IRecordStore<WrappedMasterKey> store, IVault vault, TimeProvider clock, CancellationToken cancel)
    {
        if (await store.FindAsync(WrappedMasterKey.OnlyName, cancel) is null)
            await store.TryAddAsync(await MakeAsync(vault, clock, cancel), cancel); // if somebody else was faster, theirs it is
        var stored = (await store.FindAsync(WrappedMasterKey.OnlyName, cancel))?.Value ?? throw new StorageUnavailableException("The master key has gone.");
        return await vault.UnwrapAsync(stored.KeyVersion, stored.Wrapped, cancel) switch
        {
            Unwrapped.Key({ Length: Bytes } master) => new KeyRing(master),
            Unwrapped.Key({ Length: var length }) => throw new InvalidDataException($"The master key in the store has {length} bytes: {Bytes} are expected."),
            Unwrapped.NoSuchVersion(var detail) => throw new InvalidDataException($"The master key in the store is wrapped for version '{stored.KeyVersion}' of the vault's key: {detail} Enable or recover it."),
            Unwrapped.NotWrapped(var detail) => throw new InvalidDataException($"The master key in the store cannot be unwrapped with version '{stored.KeyVersion}' of the vault's key: {detail}"),
            _ => throw new System.Diagnostics.UnreachableException(),
        };
    }

    public byte[] Authenticate(string purpose, ReadOnlySpan<byte> data)
    {
        return HMACSHA256.HashData(KeyFor(purpose), data);
    }

    public byte[] Seal(string purpose, ReadOnlySpan<byte> secret)
    {
        var output = new byte[NonceSize + secret.Length + TagSize];
        RandomNumberGenerator.Fill(output.AsSpan(0, NonceSize));
        using var aes = new AesGcm(KeyFor("seal " + purpose), TagSize);
        aes.Encrypt(output.AsSpan(0, NonceSize), secret, output.AsSpan(NonceSize, secret.Length), output.AsSpan(NonceSize + secret.Length));
        return output;
    }

    public byte[]? Open(string purpose, ReadOnlySpan<byte> @sealed)
    {
        if (@sealed.Length < NonceSize + TagSize)
            return null;
        var secret = new byte[@sealed.Length - NonceSize - TagSize];
        using var aes = new AesGcm(KeyFor("seal " + purpose), TagSize);
        try
        {
            aes.Decrypt(@sealed[..NonceSize], @sealed.Slice(NonceSize, secret.Length), @sealed[^TagSize..], secret);
            return secret;
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }
    }

    private static async Task<WrappedMasterKey> MakeAsync(IVault vault, TimeProvider clock, CancellationToken cancel)
    {
        var key = await vault.WrappingKeyAsync(cancel);
        using var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(key.PublicKey.Span, out _);
        var master = RandomNumberGenerator.GetBytes(Bytes);
        try
        {
            return new WrappedMasterKey { KeyVersion = key.Version, Wrapped = rsa.Encrypt(master, RSAEncryptionPadding.OaepSHA256), CreatedAt = clock.GetUtcNow() };
        }
        finally
        {
            CryptographicOperations.ZeroMemory(master);
        }
    }

    private byte[] KeyFor(string purpose) => _keys.GetOrAdd(purpose, static (name, master) =>
        HKDF.DeriveKey(HashAlgorithmName.SHA256, master, Bytes, info: Encoding.UTF8.GetBytes("keylime-serverless " + name)), _master);
}

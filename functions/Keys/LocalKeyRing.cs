using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Keys;

/// <summary>One master key in a file that nobody else may read, and a key derived from it for each purpose.</summary>
internal sealed class LocalKeyRing : IKeyRing
{
    private const int Bytes = 32;
    private const int NonceSize = 12;
    private const int TagSize = 16;

    private readonly byte[] _master;
    private readonly ConcurrentDictionary<string, byte[]> _keys = new();

    private LocalKeyRing(byte[] master) => _master = master;

    /// <exception cref="InvalidDataException">The file is there and holds no key.</exception>
    public static LocalKeyRing LoadOrCreate(string folder)
    {
        PrivateFiles.CreateFolder(folder);
        var path = Path.Combine(folder, "mac.key");
        if (!File.Exists(path))
            PrivateFiles.Write(path, RandomNumberGenerator.GetBytes(Bytes));

        var master = File.ReadAllBytes(path);
        return master.Length == Bytes ? new LocalKeyRing(master) : throw new InvalidDataException($"'{path}' has {master.Length} bytes: {Bytes} are expected.");
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

    private byte[] KeyFor(string purpose) => _keys.GetOrAdd(purpose, static (name, master) =>
        HKDF.DeriveKey(HashAlgorithmName.SHA256, master, Bytes, info: Encoding.UTF8.GetBytes("keylime-serverless " + name)), _master);
}

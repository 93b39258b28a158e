using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Keys;

/// <summary>One master key in a file that nobody else may read, and a key derived from it for each purpose.</summary>
internal sealed class LocalKeyRing : IKeyRing
{
    private const int Bytes = 32;

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
        var key = _keys.GetOrAdd(purpose, static (name, master) =>
            HKDF.DeriveKey(HashAlgorithmName.SHA256, master, Bytes, info: Encoding.UTF8.GetBytes("keylime-serverless " + name)), _master);
        return HMACSHA256.HashData(key, data);
    }
}

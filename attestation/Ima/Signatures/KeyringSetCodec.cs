using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Keylime.Attestation;

/// <summary>
/// Keyrings as stored bytes: a version; how many keyrings (16 bits, big-endian, as all numbers); of each its name (8 bits of length), how many keys (16 bits),
/// and of each its id (32 bits) and SubjectPublicKeyInfo (16 bits of length). Names and keys ascend, so a set has one form.
/// </summary>
internal static class KeyringSetCodec
{
    private const byte Version = 1;

    private static readonly UTF8Encoding Strict = new(false, throwOnInvalidBytes: true);

    public static byte[] Encode(KeyringSet set)
    {
        using var bytes = new MemoryStream();
        bytes.WriteByte(Version);
        Write16(bytes, set.Rings.Count);
        foreach (var (name, ring) in set.Rings)
        {
            var text = Strict.GetBytes(name);
            bytes.WriteByte((byte)text.Length);
            bytes.Write(text);
            Write16(bytes, ring.Keys.Length);
            foreach (var key in ring.Keys)
            {
                Write16(bytes, (int)(key.Id >> 16));
                Write16(bytes, (int)(key.Id & 0xFFFF));
                Write16(bytes, key.Key.SubjectPublicKeyInfo.Length);
                bytes.Write(key.Key.SubjectPublicKeyInfo.Span);
            }
        }

        return bytes.ToArray();
    }

    public static bool TryDecode(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out KeyringSet? set, [NotNullWhen(false)] out string? error)
    {
        try
        {
            var reader = new StateReader(bytes);
            (set, error) = (Read(ref reader), null);
            return true;
        }
        catch (FormatException e)
        {
            (set, error) = (null, e.Message);
            return false;
        }
    }

    private static KeyringSet Read(ref StateReader reader)
    {
        reader.Expect(Version, "the version of the keyrings");
        var rings = ImmutableSortedDictionary.CreateBuilder<string, Keyring>(StringComparer.Ordinal);
        var last = "";
        for (var left = reader.ReadCount(KeyringSet.MaxRings, "keyrings"); left > 0; left--)
        {
            var name = reader.ReadText(KeyringSet.MaxName, "a keyring's name");
            if (string.CompareOrdinal(name, last) <= 0)
                throw new FormatException($"The keyring '{name}' is not behind '{last}'.");
            rings.Add(last = name, ReadRing(ref reader));
        }

        reader.ExpectEnd();
        return rings.Values.Sum(static r => r.Keys.Length) <= KeyringSet.MaxKeys ? new KeyringSet(rings.ToImmutable()) : throw new FormatException($"More than {KeyringSet.MaxKeys} keys.");
    }

    private static Keyring ReadRing(ref StateReader reader)
    {
        var keys = ImmutableArray.CreateBuilder<ImaKey>();
        for (var left = reader.ReadCount(Keyring.MaxKeys, "keys"); left > 0; left--)
        {
            var id = reader.ReadUInt32();
            var spki = reader.ReadBytes(VerificationKey.MaxRsaBits / 4, "a key");
            if (!VerificationKey.TryCreate(spki, out var key, out var error))
                throw new FormatException($"A key: {error}.");
            if (!key.SubjectPublicKeyInfo.Span.SequenceEqual(spki))
                throw new FormatException("A key is not in the form in which keys are written.");
            var next = new ImaKey(key, id);
            if (keys.Count > 0 && ImaKey.Compare(next, keys[^1]) <= 0)
                throw new FormatException($"Key {id:x8} is not behind the one in front of it.");
            keys.Add(next);
        }

        return new Keyring(keys.ToImmutable());
    }

    private static void Write16(MemoryStream bytes, int value)
    {
        bytes.WriteByte((byte)(value >> 8));
        bytes.WriteByte((byte)(value & 0xFF));
    }
}

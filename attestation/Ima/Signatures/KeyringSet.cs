using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace Keylime.Attestation;

/// <summary>Keyrings by name: those that a measurement list told of, and the policy's. Immutable.</summary>
public sealed class KeyringSet
{
    /// <summary>The most keyrings of one.</summary>
    public const int MaxRings = 64;

    /// <summary>The most keys in all keyrings together.</summary>
    public const int MaxKeys = 4096;

    /// <summary>The longest name of a keyring, in bytes of UTF-8.</summary>
    public const int MaxName = 255;

    private Dictionary<ulong, List<(string Ring, ImaKey Key)>>? _byId; // made when it is needed; of two threads each makes the same

    internal KeyringSet(ImmutableSortedDictionary<string, Keyring> rings) => Rings = rings;

    public static KeyringSet Empty { get; } = new(ImmutableSortedDictionary.Create<string, Keyring>(StringComparer.Ordinal));

    public ImmutableSortedDictionary<string, Keyring> Rings { get; }

    public bool IsEmpty => Rings.IsEmpty;

    /// <summary>The set with a key more.</summary>
    /// <param name="error">Where the set, the keyring or the name is beyond its bounds.</param>
    public bool TryAdd(string keyring, ImaKey key, [NotNullWhen(true)] out KeyringSet? with, [NotNullWhen(false)] out string? error)
    {
        ArgumentNullException.ThrowIfNull(keyring);
        var ring = Rings.GetValueOrDefault(keyring, Keyring.Empty);
        (with, error) = ring.Keys.Length == Keyring.MaxKeys && ImaKey.Find(ring.Keys, key) < 0
            ? (null, $"the keyring has {Keyring.MaxKeys} keys already")
            : TryWith(keyring, ring.Add(key));
        return with is not null;
    }

    /// <summary>The set with this keyring in place of one of the same name.</summary>
    /// <exception cref="InvalidOperationException">The set or the name is beyond its bounds.</exception>
    public KeyringSet With(string name, Keyring keyring)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(keyring);
        var (set, error) = TryWith(name, keyring);
        return set ?? throw new InvalidOperationException(error);
    }

    /// <summary>Whether one of the keys signed this file.</summary>
    /// <remarks>
    /// In order, stopping at the first that fails:
    /// <list type="number">
    ///   <item>the signature is of the kind that the entry's digest needs: of content, or of an fs-verity descriptor; one over metadata says nothing of content;</item>
    ///   <item>it is over the entry's hash, and one that RSA or ECDSA sign here (Streebog goes with EC-RDSA, SM3 with SM2);</item>
    ///   <item>a keyring has a key of its id;</item>
    ///   <item>one of those keys made it.</item>
    /// </list>
    /// </remarks>
    /// <param name="digest">The entry's file digest.</param>
    /// <param name="algorithm">The entry's name of its hash: <c>sha256</c>.</param>
    /// <param name="verity">The entry's digest is that of an fs-verity descriptor (<c>ima-ngv2</c>, <c>ima-sigv2</c>: <c>verity:sha256:…</c>).</param>
    public SignatureResult Verify(ImaSignature signature, ReadOnlySpan<byte> digest, ReadOnlySpan<byte> algorithm, bool verity)
    {
        ArgumentNullException.ThrowIfNull(signature);
        if (Objection(signature, verity) is { } objection)
            return new SignatureResult.Unsupported(objection);
        if (!KernelHashes.TryFromName(algorithm, out var hash) || hash != signature.Hash || digest.Length != hash.Size())
            return new SignatureResult.Invalid($"it is over a hash of {signature.Hash.Name()}, and the entry's is {PrintablePath.From(algorithm)} of {digest.Length} bytes");

        _byId ??= Index();
        if (!_byId.TryGetValue(Slot(signature.KeyId, signature.Version), out var candidates))
            return new SignatureResult.UnknownKey(signature.KeyId);

        foreach (var (ring, key) in candidates)
        {
            if (FileSignature.Verify(signature, digest, key.Key))
                return new SignatureResult.Verified(key, ring);
        }

        return new SignatureResult.Invalid("the key of its id did not sign this digest");
    }

    /// <summary>One form of bytes for one set, whatever the order in which keys were added.</summary>
    public byte[] Encode() => KeyringSetCodec.Encode(this);

    public static bool TryDecode(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out KeyringSet? set, [NotNullWhen(false)] out string? error) =>
        KeyringSetCodec.TryDecode(bytes, out set, out error);

    private (KeyringSet? Set, string? Error) TryWith(string name, Keyring keyring)
    {
        var length = System.Text.Encoding.UTF8.GetByteCount(name);
        if (length is 0 or > MaxName)
            return (null, $"a keyring's name of {length} bytes; 1 to {MaxName} are expected");

        var rings = Rings.SetItem(name, keyring);
        return rings.Count > MaxRings ? (null, $"{MaxRings} keyrings are there already")
            : rings.Values.Sum(static r => r.Keys.Length) > MaxKeys ? (null, $"{MaxKeys} keys are there already")
            : (new KeyringSet(rings), null);
    }

    private static string? Objection(ImaSignature signature, bool verity) => (signature.Kind, signature.Version, signature.Hash) switch
    {
        (ImaSignatureKind.PortableMetadata, _, _) => "a portable EVM signature is over the file's metadata and not over its content",
        (ImaSignatureKind.Verity, 3, _) when !verity => "it is over an fs-verity descriptor, and the entry's digest is of content",
        (ImaSignatureKind.Verity, not 3, _) => $"a signature of fs-verity has version 3, and this one {signature.Version}",
        (ImaSignatureKind.File, _, _) when verity => "it is over content, and the entry's digest is of an fs-verity descriptor",
        (_, _, KernelHash.Streebog256 or KernelHash.Streebog512) => "Streebog goes with EC-RDSA, which is not supported",
        (_, _, KernelHash.Sm3) => "SM3 goes with SM2, which is not supported",
        (_, 3, var hash) when hash.RuntimeName() is null => $"{hash.Name()}, which version 3 hashes with once more, is not supported",
        (_, 2, var hash) when hash.RuntimeName() is null && hash.DigestInfo().IsEmpty => $"signatures over {hash.Name()} are not supported",
        _ => null,
    };

    private Dictionary<ulong, List<(string Ring, ImaKey Key)>> Index()
    {
        var index = new Dictionary<ulong, List<(string, ImaKey)>>();
        foreach (var (name, ring) in Rings)
        {
            foreach (var key in ring.Keys)
            {
                Put(Slot(key.Id, 2), name, key);
                if (key.FirstId is { } first)
                    Put(Slot(first, 1), name, key);
            }
        }

        return index;

        void Put(ulong slot, string name, ImaKey key)
        {
            if (!index.TryGetValue(slot, out var list))
                index[slot] = list = [];
            list.Add((name, key));
        }
    }

    // Ids of version 1 have 64 bits, later ones 32: in one table a collision costs a verification that fails, and nothing else.
    private static ulong Slot(ulong id, int version) => version == 1 ? id : id | 0xFFFF_FFFF_0000_0000;
}

using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;

namespace Keylime.Attestation;

/// <summary>A public key that signs files, with the ids by which signatures name it.</summary>
/// <remarks>An id is a hint for the search and nothing more: it has 32 bits, and anybody can make a key with a given one.</remarks>
public sealed class ImaKey
{
    private const int FirstHeader = 7; // pubkey_hdr: version, four bytes of time, algorithm, how many numbers follow

    private static readonly Comparer<ImaKey> Order = Comparer<ImaKey>.Create(Compare);

    internal ImaKey(VerificationKey key, uint id) => (Key, Id, FirstId) = (key, id, FirstIdOf(key));

    public VerificationKey Key { get; }

    /// <summary>As in signatures of versions 2 and 3.</summary>
    public uint Id { get; }

    /// <summary>As in signatures of version 1; <see langword="null"/> for a key that is not RSA.</summary>
    internal ulong? FirstId { get; }

    /// <summary>
    /// Reads the key of a certificate, a public key (SubjectPublicKeyInfo, PKCS#1), or a private key's public part; DER or PEM. Its id is the tail of
    /// the certificate's subject key identifier where there is one, as the kernel looks keys up; otherwise the tail of SHA-1 over the key's bits, as evmctl
    /// computes it.
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out ImaKey? key, [NotNullWhen(false)] out string? error)
    {
        key = KeyFile.TryRead(bytes, out var file, out error) ? new ImaKey(file.Key, IdOf(file)) : null;
        return key is not null;
    }

    /// <summary>The id of a key that came without one.</summary>
    internal static uint IdOf(VerificationKey key) => BinaryPrimitives.ReadUInt32BigEndian(Sha1(Bits(key)).AsSpan(16));

    /// <returns>Where the key is, or the complement of where it belongs.</returns>
    internal static int Find(System.Collections.Immutable.ImmutableArray<ImaKey> sorted, ImaKey key) => sorted.AsSpan().BinarySearch(key, Order);

    /// <summary>By id, then by key.</summary>
    internal static int Compare(ImaKey one, ImaKey other) =>
        one.Id != other.Id ? one.Id.CompareTo(other.Id) : one.Key.SubjectPublicKeyInfo.Span.SequenceCompareTo(other.Key.SubjectPublicKeyInfo.Span);

    private static uint IdOf(KeyFile file) =>
        file.Certificate is { } certificate && KeyFile.SubjectKeyIdentifier(certificate) is { Length: >= sizeof(uint) } identifier
            ? BinaryPrimitives.ReadUInt32BigEndian(identifier[^sizeof(uint)..])
            : IdOf(file.Key);

    // What is in subjectPublicKey: PKCS#1 of an RSA key, the uncompressed point of an EC key.
    private static byte[] Bits(VerificationKey key)
    {
        if (key.Point is { } point)
            return [0x04, .. point.X!, .. point.Y!];
        using var rsa = RSA.Create(key.Rsa!.Value);
        return rsa.ExportRSAPublicKey();
    }

    // kernel: Documentation/security/digsig.rst: the tail of SHA-1 over the key in the form that version 1 had, time and all
    private static ulong? FirstIdOf(VerificationKey key)
    {
        if (key.Rsa is not { Modulus: { } modulus, Exponent: { } exponent })
            return null;

        Span<byte> header = stackalloc byte[FirstHeader];
        header.Clear();
        (header[0], header[6]) = (1, 2);
        return BinaryPrimitives.ReadUInt64BigEndian(Sha1([.. header, .. Number(modulus), .. Number(exponent)]).AsSpan(12));
    }

    private static byte[] Number(byte[] value)
    {
        var bits = 8 * value.Length - byte.LeadingZeroCount(value[0]);
        return [(byte)(bits >> 8), (byte)(bits & 0xFF), .. value];
    }

#pragma warning disable CA5350 // Ids are SHA-1 by definition, and nothing is trusted for them.
    private static byte[] Sha1(byte[] data) => SHA1.HashData(data);
#pragma warning restore CA5350
}

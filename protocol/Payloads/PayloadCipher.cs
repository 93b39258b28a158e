using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Keylime.Protocol.Payloads;

/// <summary>
/// Seals a payload's content, of any length in constant memory: AES-256-GCM in segments by the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár:
/// "Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015). A segment's nonce holds its number and whether it is the last
/// one, so that a stream which was cut, continued or put in another order does not open.
/// </summary>
/// <remarks>
/// Header: 8 bytes <c>keylime</c> and 0x01, 32 bytes of salt. The segments' key is HKDF-SHA256 (RFC 5869) of the payload's key with that salt, and the first 8 bytes as info;
/// the whole header is associated data of each segment. Then segments of <see cref="SegmentSize"/> plain bytes, each with its tag of 16 bytes behind it; the
/// last one may be shorter, and is empty only where the content is. So a content and a salt have one encoding.
/// </remarks>
public static class PayloadCipher
{
    /// <summary>In bytes, of the plain content.</summary>
    public const int SegmentSize = 64 * 1024;

    /// <summary>In bytes.</summary>
    public const int HeaderSize = MagicSize + SaltSize;

    private const int MagicSize = 8;
    private const int SaltSize = 32;
    private const int TagSize = 16;
    private const int NonceSize = 12; // NIST SP 800-38D, 5.2.1.1
    private const int SealedSegmentSize = SegmentSize + TagSize;

    private static ReadOnlySpan<byte> Magic => "keylime\u0001"u8;

    /// <summary>How long a content is when it is sealed, in bytes. No two lengths have the same.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Less than nothing.</exception>
    /// <exception cref="OverflowException">More than there can be.</exception>
    public static long SealedLength(long plain)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(plain);
        var segments = Math.Max(1, plain / SegmentSize + (plain % SegmentSize == 0 ? 0 : 1));
        return HeaderSize + plain + segments * TagSize;
    }

    /// <summary>Reads a content to its end and writes it sealed.</summary>
    /// <param name="key">32 bytes.</param>
    public static async Task SealAsync(Stream plain, Stream output, ReadOnlyMemory<byte> key, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(plain);
        ArgumentNullException.ThrowIfNull(output);
        var header = new byte[HeaderSize];
        Magic.CopyTo(header);
        RandomNumberGenerator.Fill(header.AsSpan(MagicSize));
        using var aead = Open(key, header);
        await output.WriteAsync(header, cancel).ConfigureAwait(false);

        var encrypted = new byte[SealedSegmentSize];
        var (current, next) = (new byte[SegmentSize], new byte[SegmentSize]);
        try
        {
            var size = await plain.ReadAtLeastAsync(current, SegmentSize, throwOnEndOfStream: false, cancel).ConfigureAwait(false);
            for (var number = 0L; ; number++)
            {
                // Whether this one is the last only the next one tells.
                var nextSize = size == SegmentSize ? await plain.ReadAtLeastAsync(next, SegmentSize, throwOnEndOfStream: false, cancel).ConfigureAwait(false) : 0;
                aead.Encrypt(Nonce(number, isLast: nextSize == 0), current.AsSpan(0, size), encrypted.AsSpan(0, size), encrypted.AsSpan(size, TagSize), header);
                await output.WriteAsync(encrypted.AsMemory(0, size + TagSize), cancel).ConfigureAwait(false);
                if (nextSize == 0)
                    return;
                (current, next, size) = (next, current, nextSize);
            }
        }
        finally
        {
            CryptographicOperations.ZeroMemory(current);
            CryptographicOperations.ZeroMemory(next);
        }
    }

    /// <summary>
    /// Reads a sealed content to its end and writes it plain. No byte is written before it is proven; but that the end is missing shows only at the end, so what was written is
    /// of use only once this has returned.
    /// </summary>
    /// <param name="key">32 bytes.</param>
    /// <exception cref="PayloadFormatException">It is no sealed content, of another key, altered, cut, continued or in another order.</exception>
    public static async Task OpenAsync(Stream input, Stream plain, ReadOnlyMemory<byte> key, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(plain);
        var header = new byte[HeaderSize];
        var read = await input.ReadAtLeastAsync(header, HeaderSize, throwOnEndOfStream: false, cancel).ConfigureAwait(false);
        if (read < HeaderSize)
            throw new PayloadFormatException($"a header of {read} bytes, {HeaderSize} are expected,", 0);
        if (!header.AsSpan(0, MagicSize).SequenceEqual(Magic))
            throw new PayloadFormatException("no sealed payload of version 1", 0);

        using var aead = Open(key, header);
        var opened = new byte[SegmentSize];
        var (current, next) = (new byte[SealedSegmentSize], new byte[SealedSegmentSize]);
        try
        {
            var position = (long)HeaderSize;
            var size = await input.ReadAtLeastAsync(current, SealedSegmentSize, throwOnEndOfStream: false, cancel).ConfigureAwait(false);
            for (var number = 0L; ; number++)
            {
                var nextSize = size == SealedSegmentSize ? await input.ReadAtLeastAsync(next, SealedSegmentSize, throwOnEndOfStream: false, cancel).ConfigureAwait(false) : 0;
                var length = OpenSegment(aead, header, number, isLast: nextSize == 0, current.AsSpan(0, size), opened, position);
                await plain.WriteAsync(opened.AsMemory(0, length), cancel).ConfigureAwait(false);
                if (nextSize == 0)
                    return;
                position += size;
                (current, next, size) = (next, current, nextSize);
            }
        }
        finally
        {
            CryptographicOperations.ZeroMemory(opened);
        }
    }

    private static int OpenSegment(AesGcm aead, byte[] header, long number, bool isLast, ReadOnlySpan<byte> segment, Span<byte> opened, long position)
    {
        var length = segment.Length - TagSize;
        if (length < 0)
            throw new PayloadFormatException($"segment {number} of {segment.Length} bytes, {TagSize} at least are expected,", position);
        if (length == 0 && number > 0)
            throw new PayloadFormatException($"segment {number} with nothing in it", position); // the one before would have been the last

        try
        {
            aead.Decrypt(Nonce(number, isLast), segment[..length], segment[length..], opened[..length], header);
            return length;
        }
        catch (AuthenticationTagMismatchException)
        {
            throw new PayloadFormatException($"segment {number} is not what was sealed with this key as {(isLast ? "the last one" : "one before the last")},", position);
        }
    }

    private static AesGcm Open(ReadOnlyMemory<byte> key, ReadOnlySpan<byte> header)
    {
        if (key.Length != PayloadBinding.KeySize)
            throw new ArgumentException($"A key of {PayloadBinding.KeySize} bytes is expected, not of {key.Length}.", nameof(key));
        Span<byte> derived = stackalloc byte[PayloadBinding.KeySize];
        HKDF.DeriveKey(HashAlgorithmName.SHA256, key.Span, derived, salt: header[MagicSize..], info: header[..MagicSize]);
        var aead = new AesGcm(derived, TagSize);
        CryptographicOperations.ZeroMemory(derived);
        return aead;
    }

    // The number in front, and in the last byte whether it is the last one: no two segments of a stream have the same.
    private static byte[] Nonce(long number, bool isLast)
    {
        var nonce = new byte[NonceSize];
        BinaryPrimitives.WriteInt64BigEndian(nonce.AsSpan(NonceSize - 1 - sizeof(long)), number);
        nonce[^1] = isLast ? (byte)1 : (byte)0;
        return nonce;
    }
}

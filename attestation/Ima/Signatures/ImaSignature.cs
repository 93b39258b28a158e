using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Keylime.Attestation;

/// <summary>A file's signature as a measurement list carries it: the whole extended attribute, taken apart.</summary>
/// <remarks>
/// <code>
/// version 1 (kernel: include/linux/digsig.h)          versions 2 and 3 (security/integrity/integrity.h, signature_v2_hdr)
///  1  type, 3                                           1  type: 3, 5, 6
///  1  version, 1                                        1  version, 2 or 3
///  4  time, signed and not looked at                    1  hash of the file, as the kernel numbers them
///  1  algorithm, 0: RSA                                 4  key id
///  1  hash of the file: 0 SHA-1, 1 SHA-256              2  size
///  8  key id                                               signature
///  1  numbers that follow, 1
///  2  bits of the number, and the number
/// </code>
/// All are big-endian, and nothing is behind them.
/// </remarks>
public sealed class ImaSignature
{
    /// <summary>The longest attribute, in bytes: a signature of RSA with 8,192 bits has 1,024.</summary>
    public const int MaxLength = 2048;

    private const int FirstHeader = 16;
    private const int LaterHeader = 8;

    private ImaSignature()
    {
    }

    public ImaSignatureKind Kind { get; private init; }

    /// <summary>1, 2 or 3.</summary>
    public int Version { get; private init; }

    /// <summary>The hash of the file that was signed.</summary>
    public KernelHash Hash { get; private init; }

    /// <summary>Of version 1 eight bytes, of later ones four, as a big-endian number.</summary>
    public ulong KeyId { get; private init; }

    public ReadOnlyMemory<byte> Value { get; private init; }

    /// <summary>Of version 1 what is signed together with the file's hash; empty of later ones.</summary>
    internal ReadOnlyMemory<byte> SignedHeader { get; private init; }

    /// <param name="attribute">As in the <c>sig</c> field of <c>ima-sig</c>, type byte and all.</param>
    /// <param name="error">What, where, and what was expected.</param>
    public static bool TryParse(ReadOnlySpan<byte> attribute, [NotNullWhen(true)] out ImaSignature? signature, [NotNullWhen(false)] out string? error)
    {
        signature = null;
        if (attribute.Length is < 1 + LaterHeader or > MaxLength)
        {
            error = $"{attribute.Length} bytes; {1 + LaterHeader} to {MaxLength} are expected";
            return false;
        }

        var kind = (ImaSignatureKind)attribute[0];
        if (!Enum.IsDefined(kind))
        {
            error = $"the attribute's type is 0x{attribute[0]:x2}; 0x03 (signature), 0x05 (portable EVM) or 0x06 (fs-verity) is expected";
            return false;
        }

        (signature, error) = (kind, attribute[1]) switch
        {
            (ImaSignatureKind.File, 1) => ParseFirst(attribute[1..]),
            (_, 2 or 3) => ParseLater(kind, attribute[1..]),
            _ => (null, $"the signature's version is {attribute[1]}; 1 (of a file only), 2 or 3 is expected"),
        };
        return signature is not null;
    }

    private static (ImaSignature? Signature, string? Error) ParseFirst(ReadOnlySpan<byte> header)
    {
        if (header.Length < FirstHeader + sizeof(ushort))
            return (null, $"{header.Length} bytes behind the type; {FirstHeader + sizeof(ushort)} at least are expected of version 1");
        if (header[5] != 0)
            return (null, $"the signature's algorithm is {header[5]}; 0 (RSA) is the one of version 1");
        if (header[6] > 1)
            return (null, $"the file's hash is {header[6]}; 0 (SHA-1) or 1 (SHA-256) is expected of version 1");
        if (header[15] != 1)
            return (null, $"{header[15]} numbers follow; one is expected of an RSA signature");

        var value = header[(FirstHeader + sizeof(ushort))..];
        var bits = BinaryPrimitives.ReadUInt16BigEndian(header[FirstHeader..]);
        if (value.Length != (bits + 7) / 8)
            return (null, $"the signature says {bits} bits and has {value.Length} bytes");

        return (new ImaSignature
        {
            Kind = ImaSignatureKind.File,
            Version = 1,
            Hash = header[6] == 0 ? KernelHash.Sha1 : KernelHash.Sha256,
            KeyId = BinaryPrimitives.ReadUInt64BigEndian(header[7..]),
            Value = value.ToArray(),
            SignedHeader = header[..FirstHeader].ToArray(),
        }, null);
    }

    private static (ImaSignature? Signature, string? Error) ParseLater(ImaSignatureKind kind, ReadOnlySpan<byte> header)
    {
        var hash = (KernelHash)header[1];
        if (!hash.IsDefined())
            return (null, $"the file's hash is {header[1]}, which the kernel does not number");

        var size = BinaryPrimitives.ReadUInt16BigEndian(header[6..]);
        if (size == 0 || size != header.Length - LaterHeader)
            return (null, $"the signature says {size} bytes and has {header.Length - LaterHeader}");

        return (new ImaSignature
        {
            Kind = kind,
            Version = header[0],
            Hash = hash,
            KeyId = BinaryPrimitives.ReadUInt32BigEndian(header[2..]),
            Value = header[LaterHeader..].ToArray(),
        }, null);
    }
}

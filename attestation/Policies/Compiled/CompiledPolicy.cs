using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>The form in which a runtime policy is kept to be judged with: made once of its text, and ready as it lies in a file.</summary>
/// <remarks>
/// Little-endian: a magic; 32 bits of format version; SHA-256 of the text that it was made from; 32 bits of length for each part; then the parts, one behind the other up to the end.
/// It says what its maker says: whoever reads one has made sure before who made it, and of which text, and that no byte has changed. There is no checksum in it, because that is one.
/// </remarks>
internal static class CompiledPolicy
{
    public const int Version = 1;

    private const int Parts = 6;
    private const int HeadLength = 8 + sizeof(uint) + SHA256.HashSizeInBytes + Parts * sizeof(uint);
    private const int MaxWarnings = 64;
    private const int MaxWarning = 16 * 1024;

    private static ReadOnlySpan<byte> Magic => "KL-RTPOL"u8;

    public static byte[] Write(RuntimeRules rules, ImmutableArray<string> warnings, DsseSeal? seal, ReadOnlySpan<byte> textDigest)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(textDigest.Length, SHA256.HashSizeInBytes);
        ReadOnlyMemory<byte>[] parts =
            [rules.Digests.Bytes, rules.Keyrings.Bytes, rules.Buffers.Bytes, rules.Settings, WriteWarnings(warnings), seal?.Encode() ?? []];
        var bytes = new byte[HeadLength + parts.Sum(static p => p.Length)];
        Magic.CopyTo(bytes);
        var rest = bytes.AsSpan(Magic.Length);
        BinaryPrimitives.WriteInt32LittleEndian(rest, Version);
        textDigest.CopyTo(rest[sizeof(int)..]);
        rest = rest[(sizeof(int) + SHA256.HashSizeInBytes)..];
        foreach (var part in parts)
        {
            BinaryPrimitives.WriteInt32LittleEndian(rest, part.Length);
            rest = rest[sizeof(int)..];
        }

        foreach (var part in parts)
        {
            part.Span.CopyTo(rest);
            rest = rest[part.Length..];
        }

        GC.KeepAlive(rules); // its lists may be of a mapped file
        return bytes;
    }

    /// <exception cref="CompiledPolicyException">It is none, or of another format version, or of another text.</exception>
    public static (RuntimeRules Rules, ImmutableArray<string> Warnings, DsseSeal? Seal) Read(ReadOnlyMemory<byte> bytes, ReadOnlySpan<byte> textDigest)
    {
        if (bytes.Length < HeadLength || !bytes.Span.StartsWith(Magic))
            throw new CompiledPolicyException($"{HeadLength} bytes at least are expected, of which the first are '{Encoding.ASCII.GetString(Magic)}'");
        var head = bytes.Span[Magic.Length..HeadLength];
        if (BinaryPrimitives.ReadUInt32LittleEndian(head) is var version and not Version)
            throw new CompiledPolicyException($"format version {version}; {Version} is expected");
        if (!head.Slice(sizeof(int), SHA256.HashSizeInBytes).SequenceEqual(textDigest))
            throw new CompiledPolicyException("it was made from another text");

        var lengths = head[(sizeof(int) + SHA256.HashSizeInBytes)..];
        var parts = new ReadOnlyMemory<byte>[Parts];
        var at = HeadLength;
        for (var i = 0; i < Parts; i++)
        {
            var length = BinaryPrimitives.ReadUInt32LittleEndian(lengths[(i * sizeof(uint))..]);
            if (length > bytes.Length - at)
                throw new CompiledPolicyException($"part {i} has {length} bytes; {bytes.Length - at} are left");
            parts[i] = bytes.Slice(at, (int)length);
            at += (int)length;
        }

        if (at != bytes.Length)
            throw new CompiledPolicyException($"{bytes.Length - at} bytes left over");
        var tables = new PolicyTables(DigestTable.Read(parts[0]), DigestTable.Read(parts[1]), DigestTable.Read(parts[2]));
        var read = (ReadSettings(parts[3].Span, tables), ReadWarnings(parts[4].Span), parts[5].IsEmpty ? null : DsseSeal.Decode(parts[5].Span));
        GC.KeepAlive(tables);
        return read;
    }

    private static RuntimeRules ReadSettings(ReadOnlySpan<byte> text, PolicyTables tables)
    {
        try
        {
            JsonText.Demand(text);
            return new RuntimePolicyReader(text, tables).Read();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is what the JSON reader throws for half a surrogate pair
            throw new CompiledPolicyException($"its settings: {e.Message}");
        }
    }

    private static byte[] WriteWarnings(ImmutableArray<string> warnings)
    {
        var bytes = new List<byte>();
        foreach (var warning in warnings.Select(Encoding.UTF8.GetBytes))
        {
            var length = new byte[sizeof(int)];
            BinaryPrimitives.WriteInt32LittleEndian(length, warning.Length);
            bytes.AddRange([.. length, .. warning]);
        }

        return [.. bytes];
    }

    private static ImmutableArray<string> ReadWarnings(ReadOnlySpan<byte> bytes)
    {
        var warnings = ImmutableArray.CreateBuilder<string>();
        while (!bytes.IsEmpty)
        {
            if (bytes.Length < sizeof(uint) || BinaryPrimitives.ReadUInt32LittleEndian(bytes) is var length && (length > bytes.Length - sizeof(uint) || length > MaxWarning) || warnings.Count == MaxWarnings)
                throw new CompiledPolicyException($"warnings: {MaxWarnings} of {MaxWarning} bytes at most are expected, each with its length");
            warnings.Add(Encoding.UTF8.GetString(bytes.Slice(sizeof(uint), (int)length)));
            bytes = bytes[(sizeof(uint) + (int)length)..];
        }

        return warnings.DrainToImmutable();
    }
}

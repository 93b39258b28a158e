using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace Keylime.Attestation;

/// <summary>
/// What a measurement list has told since the boot that later lines are judged by: it goes with the checkpoint, because those lines are not
/// sent again. Immutable.
/// </summary>
/// <param name="Keyrings">Keys that <c>ima-buf</c> entries told of and the policy allowed, by keyring.</param>
/// <param name="Devices">Of the device mapper.</param>
/// <param name="Violations">Violations so far that the policy tolerated, by path or by budget.</param>
/// <param name="BudgetSpent">Those of them that the policy's budget was spent on.</param>
public sealed record ImaState(KeyringSet Keyrings, DeviceMapperState Devices, long Violations, long BudgetSpent)
{
    /// <summary>The most bytes of an encoded state.</summary>
    public const int MaxEncodedLength = 16 * 1024 * 1024;

    private const byte Version = 1;
    private const int HeadLength = 1 + 2 * sizeof(long);

    public static ImaState Empty { get; } = new(KeyringSet.Empty, DeviceMapperState.Empty, 0, 0);

    /// <summary>True where later lines are judged as if none had come before.</summary>
    public bool IsEmpty => Keyrings.IsEmpty && Devices.IsEmpty && Violations == 0 && BudgetSpent == 0;

    /// <summary>One form of bytes for one state.</summary>
    public byte[] Encode()
    {
        var keyrings = Keyrings.IsEmpty ? [] : Keyrings.Encode();
        var devices = Devices.IsEmpty ? [] : Devices.Encode();
        var bytes = new byte[HeadLength + sizeof(int) + keyrings.Length + devices.Length];
        bytes[0] = Version;
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(1), Violations);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(1 + sizeof(long)), BudgetSpent);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(HeadLength), keyrings.Length);
        keyrings.CopyTo(bytes, HeadLength + sizeof(int));
        devices.CopyTo(bytes, HeadLength + sizeof(int) + keyrings.Length);
        return bytes;
    }

    /// <param name="error">What, where, and what was expected.</param>
    public static bool TryDecode(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out ImaState? state, [NotNullWhen(false)] out string? error)
    {
        (state, error) = (null, null);
        if (bytes.Length is < HeadLength + sizeof(int) or > MaxEncodedLength || bytes[0] != Version)
        {
            error = $"A state of version {Version}, of {HeadLength + sizeof(int)} to {MaxEncodedLength} bytes, is expected.";
            return false;
        }

        var violations = BinaryPrimitives.ReadInt64BigEndian(bytes[1..]);
        var spent = BinaryPrimitives.ReadInt64BigEndian(bytes[(1 + sizeof(long))..]);
        if (spent < 0 || violations < spent)
        {
            error = $"{violations} violations, of which {spent} were spent: the first is not less than the second, which is not below 0.";
            return false;
        }

        var length = BinaryPrimitives.ReadInt32BigEndian(bytes[HeadLength..]);
        var rest = bytes[(HeadLength + sizeof(int))..];
        if (length < 0 || length > rest.Length)
        {
            error = $"Keyrings of {length} bytes, {rest.Length} are left at byte {HeadLength + sizeof(int)}.";
            return false;
        }

        var (keyrings, devices) = (KeyringSet.Empty, DeviceMapperState.Empty);
        if (length > 0 && !KeyringSet.TryDecode(rest[..length], out keyrings, out error))
            return false;
        if (length < rest.Length && !DeviceMapperState.TryDecode(rest[length..], out devices, out error))
            return false;

        var decoded = new ImaState(keyrings, devices, violations, spent);
        if (!decoded.Encode().AsSpan().SequenceEqual(bytes))
        {
            error = "The state has another form than the one that it is written in.";
            return false;
        }

        state = decoded;
        return true;
    }
}

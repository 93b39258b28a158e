using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text;

namespace Keylime.Attestation;

/// <summary>
/// Devices as stored bytes: a version; how many (16 bits, big-endian, as all numbers); of each its name, uuid and rule (8 bits of length), its standing (8 bits),
/// its active and its loaded table's hash and what is pending (16 bits of length), and the row that is next (16 bits). Devices ascend, so a state has one form.
/// </summary>
internal static class DeviceMapperStateCodec
{
    private const byte Version = 1;
    private const int HashSize = 32;

    public static byte[] Encode(DeviceMapperState state)
    {
        using var bytes = new MemoryStream();
        bytes.WriteByte(Version);
        Write16(bytes, state.Devices.Length);
        foreach (var device in state.Devices)
        {
            foreach (var text in (ReadOnlySpan<string>)[device.Name, device.Uuid, device.Rule])
            {
                var utf8 = Encoding.UTF8.GetBytes(text);
                bytes.WriteByte((byte)utf8.Length);
                bytes.Write(utf8);
            }

            bytes.WriteByte((byte)device.Standing);
            foreach (var part in (ReadOnlySpan<ReadOnlyMemory<byte>>)[device.ActiveTable, device.LoadedTable, device.Pending])
            {
                Write16(bytes, part.Length);
                bytes.Write(part.Span);
            }

            Write16(bytes, device.NextTarget);
        }

        return bytes.ToArray();
    }

    public static bool TryDecode(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out DeviceMapperState? state, [NotNullWhen(false)] out string? error)
    {
        try
        {
            var reader = new StateReader(bytes);
            (state, error) = (Read(ref reader), null);
            return true;
        }
        catch (FormatException e)
        {
            (state, error) = (null, e.Message);
            return false;
        }
    }

    private static DeviceMapperState Read(ref StateReader reader)
    {
        reader.Expect(Version, "the version of the devices");
        var devices = ImmutableArray.CreateBuilder<DeviceMapperDevice>();
        for (var left = reader.ReadCount(DeviceMapperState.MaxDevices, "devices"); left > 0; left--)
        {
            var device = ReadDevice(ref reader);
            if (devices.Count > 0 && DeviceMapperState.Compare(device, devices[^1]) <= 0)
                throw new FormatException($"The device '{device.Name}' is not behind '{devices[^1].Name}'.");
            devices.Add(device);
        }

        reader.ExpectEnd();
        return new DeviceMapperState(devices.ToImmutable());
    }

    private static DeviceMapperDevice ReadDevice(ref StateReader reader)
    {
        var device = new DeviceMapperDevice(
            reader.ReadText(DeviceMapperState.MaxText, "a device's name"), reader.ReadText(DeviceMapperState.MaxText, "a uuid"), reader.ReadText(DeviceMapperState.MaxText, "a rule's name"));
        var standing = reader.ReadUInt8();
        if (standing > (byte)DeviceMapperStanding.Refused)
            throw new FormatException($"The device '{device.Name}' has the standing {standing}.");

        device = device with
        {
            Standing = (DeviceMapperStanding)standing,
            ActiveTable = ReadHash(ref reader),
            LoadedTable = ReadHash(ref reader),
            Pending = reader.ReadBytes(ushort.MaxValue, "measurements").ToArray(),
            NextTarget = reader.ReadCount(DeviceMapperReader.MaxTargets, "targets"),
        };
        return device.Pending.IsEmpty == (device.NextTarget == 0) ? device : throw new FormatException($"The device '{device.Name}' waits for a target, and has no table to add it to, or the reverse.");
    }

    private static byte[] ReadHash(ref StateReader reader)
    {
        var hash = reader.ReadBytes(HashSize, "a table's hash");
        return hash.Length is 0 or HashSize ? hash.ToArray() : throw new FormatException($"A table's hash of {hash.Length} bytes.");
    }

    private static void Write16(MemoryStream bytes, int value)
    {
        bytes.WriteByte((byte)(value >> 8));
        bytes.WriteByte((byte)(value & 0xFF));
    }
}

using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>Device paths (UEFI 2.10, 10.3): nodes of a type, a subtype and a length, up to the node that ends them.</summary>
internal static class DevicePathReader
{
    private const byte End = 0x7F;
    private const byte EndInstance = 0x01;
    private const byte EndEntire = 0xFF;
    private const int NodeHeader = 4;
    private const int MaxNodes = 64;

    private static readonly EfiDevicePath Empty = new([]);

    /// <summary>A path that is all there is; empty for an image without one (loaded from memory).</summary>
    public static EfiDevicePath ReadWhole(ref BootReader reader)
    {
        var path = reader.AtEnd ? Empty : ReadOne(ref reader);
        reader.ExpectEnd();
        return path;
    }

    /// <summary>A path up to the node that ends it.</summary>
    public static EfiDevicePath ReadOne(ref BootReader reader)
    {
        ImmutableArray<EfiDevicePathNode>.Builder? nodes = null;
        while (true)
        {
            var at = reader.Position;
            var (type, subtype, length) = (reader.ReadUInt8(), reader.ReadUInt8(), reader.ReadUInt16());
            if (length < NodeHeader)
                BootReader.Throw($"a device path node of {length} bytes, {NodeHeader} at least,", at);
            if (nodes?.Count == MaxNodes)
                BootReader.Throw($"more than {MaxNodes} device path nodes", at);

            var data = reader.ReadBytes((ulong)(length - NodeHeader));
            if (type != End)
                (nodes ??= ImmutableArray.CreateBuilder<EfiDevicePathNode>()).Add(new EfiDevicePathNode(type, subtype, data));
            else if (!data.IsEmpty)
                BootReader.Throw($"an end node with {data.Length} bytes of data", at);
            else if (subtype == EndInstance)
                (nodes ??= ImmutableArray.CreateBuilder<EfiDevicePathNode>()).Add(new EfiDevicePathNode(type, subtype, data));
            else if (subtype == EndEntire)
                return nodes is null ? Empty : new EfiDevicePath(nodes.DrainToImmutable());
            else
                BootReader.Throw($"an end node of subtype 0x{subtype:x2}", at);
        }
    }
}

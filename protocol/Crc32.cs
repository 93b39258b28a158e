using System.Buffers.Binary;

namespace Keylime.Protocol;

/// <summary>The CRC of gzip (RFC 1952, 8), eight bytes a step: the runtime has it in a package of its own only.</summary>
public static class Crc32
{
    private const uint Polynomial = 0xEDB88320;

    // Row 0 is of one byte; row n of a byte with n zeros behind it.
    private static readonly uint[] Table = Make();

    /// <param name="crc">Of what went before; 0 at the start.</param>
    public static uint Append(uint crc, ReadOnlySpan<byte> bytes)
    {
        ReadOnlySpan<uint> table = Table;
        crc = ~crc;
        for (; bytes.Length >= 8; bytes = bytes[8..])
        {
            var low = crc ^ BinaryPrimitives.ReadUInt32LittleEndian(bytes);
            var high = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
            crc = table[1792 + (int)(low & 0xFF)] ^ table[1536 + (int)(low >> 8 & 0xFF)] ^ table[1280 + (int)(low >> 16 & 0xFF)] ^ table[1024 + (int)(low >> 24)]
                ^ table[768 + (int)(high & 0xFF)] ^ table[512 + (int)(high >> 8 & 0xFF)] ^ table[256 + (int)(high >> 16 & 0xFF)] ^ table[(int)(high >> 24)];
        }

        foreach (var b in bytes)
            crc = table[(int)((crc ^ b) & 0xFF)] ^ crc >> 8;
        return ~crc;
    }

    private static uint[] Make()
    {
        var table = new uint[8 * 256];
        for (var i = 0; i < table.Length; i++)
        {
            if (i < 256)
            {
                var crc = (uint)i;
                for (var bit = 0; bit < 8; bit++)
                    crc = (crc & 1) == 0 ? crc >> 1 : crc >> 1 ^ Polynomial;
                table[i] = crc;
            }
            else
                table[i] = table[i - 256] >> 8 ^ table[(int)(table[i - 256] & 0xFF)];
        }

        return table;
    }
}

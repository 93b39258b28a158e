using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Globalization;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>What a TPM can do, asked once.</summary>
/// <param name="Schemes">Signature schemes, by their names in the protocol.</param>
/// <param name="Hashes">What it signs with, by their names in the protocol; more than it has banks of.</param>
internal sealed record MachineFacts(ImmutableArray<PcrSelection> Banks, IReadOnlyList<string> Schemes, IReadOnlyList<string> Hashes)
{
    public static async Task<MachineFacts> ReadAsync(TpmClient tpm, CancellationToken cancel)
    {
        var banks = await tpm.GetPcrBanksAsync(cancel);
        var algorithms = await tpm.GetAlgorithmsAsync(cancel);
        return new MachineFacts(
            [.. banks.Where(static b => b.Bank.IsHash())],
            [.. algorithms.Where(static a => a.IsSignatureScheme).Select(static a => a.Algorithm.ProtocolName()).OfType<string>().Order(StringComparer.Ordinal)],
            [.. algorithms.Where(static a => a.IsHash && a.Algorithm.IsHash()).Select(static a => a.Algorithm.ProtocolName()).OfType<string>()]);
    }
}

/// <summary>When the machine booted, by the kernel.</summary>
internal static class BootTime
{
    /// <summary>Reads <c>btime</c>. To be asked once: the kernel works it out from the wall clock, so it moves when that is set.</summary>
    public static DateTimeOffset Read(string path = "/proc/stat")
    {
        foreach (var line in File.ReadLines(path))
        {
            if (line.Split(' ') is ["btime", var seconds] && long.TryParse(seconds, NumberStyles.None, CultureInfo.InvariantCulture, out var value))
                return DateTimeOffset.FromUnixTimeSeconds(value);
        }

        return DateTimeOffset.UnixEpoch;
    }
}

/// <summary>The firmware's event log, as far as the agent looks at it: it counts its events, and sends it as it is.</summary>
internal static class UefiLog
{
    private const int DigestSizeOfSha1 = 20;

    // A firmware log is some tens of kilobytes; more than this is no log.
    private const int MaxLength = 16 * 1024 * 1024;

    public static byte[] Read(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            using var content = new MemoryStream();
            var buffer = new byte[16 * 1024];
            while (content.Length < MaxLength && file.Read(buffer) is var read and > 0)
                content.Write(buffer, 0, read);
            return content.ToArray();
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return [];
        }
    }

    /// <summary>Events behind the first one, which says how the others are written (TCG PC Client Platform Firmware Profile, 10.2). 0 for what is no such log.</summary>
    public static int CountEvents(ReadOnlySpan<byte> log)
    {
        const int headerSize = sizeof(uint) + sizeof(uint) + DigestSizeOfSha1 + sizeof(uint);
        if (log.Length < headerSize || !TryReadSize(log[(headerSize - sizeof(uint))..], out var specification) || headerSize + specification > log.Length)
            return 0;

        var rest = log[(headerSize + specification)..];
        for (var events = 0; ; events++)
        {
            if (rest.IsEmpty)
                return events;
            if (!TrySkipEvent(ref rest))
                return 0;
        }
    }

    private static bool TrySkipEvent(ref ReadOnlySpan<byte> log)
    {
        const int countOffset = sizeof(uint) + sizeof(uint);
        const uint maxDigests = 16;
        if (log.Length < countOffset + sizeof(uint))
            return false;

        var count = BinaryPrimitives.ReadUInt32LittleEndian(log[countOffset..]);
        var at = countOffset + sizeof(uint);
        for (var i = 0u; i < count && count <= maxDigests; i++)
        {
            if (log.Length < at + sizeof(ushort))
                return false;
            var size = ((TpmAlgorithm)BinaryPrimitives.ReadUInt16LittleEndian(log[at..])).DigestSize();
            if (size == 0)
                return false;
            at += sizeof(ushort) + size;
        }

        if (count > maxDigests || log.Length < at + sizeof(uint) || !TryReadSize(log[at..], out var length) || log.Length < at + sizeof(uint) + length)
            return false;
        log = log[(at + sizeof(uint) + length)..];
        return true;
    }

    private static bool TryReadSize(ReadOnlySpan<byte> log, out int size)
    {
        var value = log.Length < sizeof(uint) ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(log);
        size = value <= MaxLength ? (int)value : -1;
        return size >= 0;
    }
}

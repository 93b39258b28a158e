using System.Security.Cryptography;

namespace Keylime.Tenant;

/// <summary>
/// An initial RAM disk: archives one behind the other, plain (of microcode, which the kernel reads early) or compressed, with zeros between. A compressed one goes on to the
/// file's end, as the tools that make them have it.
/// </summary>
internal static class InitrdSource
{
    private const int MaxEntries = 1_000_000;
    private const long MaxUnpacked = 8L * 1024 * 1024 * 1024;

    /// <exception cref="CliException">It cannot be read.</exception>
    public static void Add(PolicyDraft draft, string path, HashAlgorithmName algorithm, Progress progress, CancellationToken cancel)
    {
        var count = 0;
        try
        {
            using var file = new BufferedStream(File.OpenRead(path), 64 * 1024);
            while (TryStart(file, out var start))
            {
                if (CpioReader.IsMagic(start))
                {
                    AddArchive(file);
                    continue;
                }

                using var unpacked = Unpacked.Open(file, start);
                var bounded = new LimitedStream(unpacked.Stream, MaxUnpacked);
                do
                    AddArchive(bounded);
                while (TrySkipZeros(bounded));
                unpacked.Complete();
                break;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new CliException(Exits.Usage, PlainText.From($"{path}: {e.Message}"), "an initial RAM disk is expected: cpio archives (newc), plain or compressed");
        }

        if (count == 0)
            throw new CliException(Exits.Usage, PlainText.From($"{path}: it has no file"), "an initial RAM disk is expected");

        void AddArchive(Stream stream)
        {
            var reader = new CpioReader(stream);
            var names = new Dictionary<(uint, uint, uint), List<string>>();
            while (reader.Next() is { } entry)
            {
                cancel.ThrowIfCancellationRequested();
                if (++count > MaxEntries)
                    throw new InvalidDataException($"more than {MaxEntries} entries");
                var digest = FileDigest.Of(reader.Data(entry), algorithm)[0];
                reader.EndData();
                progress.Report(path, count);
                if (!entry.IsRegular)
                    continue;
                if (entry.Path is null)
                {
                    draft.Tell($"{path}: a name is no UTF-8, and JSON cannot have it: it is left out.");
                    continue;
                }

                // Names that share an inode wait for the one that brings the data; an empty file never does, and is listed as it is.
                if (!names.TryGetValue(entry.Inode, out var same))
                    names[entry.Inode] = same = [];
                same.Add(entry.Path);
                if (entry.Size > 0)
                {
                    foreach (var name in same)
                        draft.AllowFile(name, digest);
                    same.Clear();
                }
            }

            var nothing = FileDigest.Of(Stream.Null, algorithm)[0];
            foreach (var name in names.Values.SelectMany(static n => n))
                draft.AllowFile(name, nothing);
        }
    }

    // The first bytes of the next segment, behind zeros; the stream stands in front of them.
    private static bool TryStart(Stream file, out byte[] start)
    {
        start = [];
        if (!TrySkipZeros(file))
            return false;
        start = new byte[CpioReader.MagicLength];
        var read = file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        file.Seek(-read, SeekOrigin.Current);
        start = start[..read];
        return true;
    }

    private static bool TrySkipZeros(Stream stream)
    {
        int next;
        do
            next = stream.ReadByte();
        while (next == 0);
        if (next < 0)
            return false;
        stream.Seek(-1, SeekOrigin.Current);
        return true;
    }
}

using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent;

/// <summary>
/// The kernel's measurement list, which only grows. Opened once, while still allowed to; read from where the last reading ended,
/// and never held in memory.
/// </summary>
internal sealed class ImaLogFile : IDisposable
{
    private const int ChunkSize = 64 * 1024;
    private const int LinesPerMark = 4096;
    private const int RecentMarks = 8;

    private readonly SafeFileHandle? _file;
    private readonly List<Mark> _marks = [new(0, 0)];      // sparse: where every so many lines start
    private readonly Queue<Mark> _recent = new();          // where the last readings ended, from which the next ones start
    private readonly byte[] _chunk = new byte[ChunkSize];
    private Mark _end = new(0, 0);

    private ImaLogFile(SafeFileHandle? file) => _file = file;

    private readonly record struct Mark(long Line, long Position);

    /// <summary>Whether there is a list at all.</summary>
    public bool Exists => _file is not null;

    /// <summary>Whole lines seen so far.</summary>
    public long Lines => _end.Line;

    /// <summary>Bytes read so far, of all readings: what a test of "only new bytes" looks at.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Opens the list; without one there are no lines.</summary>
    public static ImaLogFile Open(string path)
    {
        try
        {
            return new ImaLogFile(File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            Log.Warning($"There is no measurement list at {path}: nothing of what runs here can be proven.");
            return new ImaLogFile(null);
        }
    }

    public void Dispose() => _file?.Dispose();

    /// <summary>Counts the lines that have come since the last call.</summary>
    /// <returns>Whole lines now; one without its line feed does not count yet.</returns>
    public long Refresh()
    {
        if (_file is null)
            return 0;

        // The kernel says 0 for the length of its list; a file that is shorter than what was read is another list.
        if (RandomAccess.GetLength(_file) is var length and > 0 && length < _end.Position)
            Restart();

        for (var position = _end.Position; Read(position, _chunk) is var read and > 0; position += read)
            Count(_chunk.AsSpan(0, read), position);

        _recent.Enqueue(_end);
        if (_recent.Count > RecentMarks)
            _recent.Dequeue();
        return _end.Line;
    }

    /// <summary>Gives the bytes of whole lines, chunk by chunk.</summary>
    /// <param name="from">The first line, counted from 0.</param>
    /// <param name="to">One past the last line, at most <see cref="Lines"/>.</param>
    public IEnumerable<ReadOnlyMemory<byte>> ReadLines(long from, long to)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(to, _end.Line);
        var start = Nearest(from);
        var (line, position) = (start.Line, start.Position);
        while (line < to && Read(position, _chunk) is var read and > 0)
        {
            var (begin, end, lines) = Window(_chunk.AsSpan(0, read), line, from, to);
            if (end > begin)
                yield return _chunk.AsMemory(begin, end - begin);
            line = lines;
            position += read;
        }
    }

    // Which part of a chunk is of the lines wanted, and which line the chunk ends in.
    private static (int Begin, int End, long Line) Window(ReadOnlySpan<byte> chunk, long line, long from, long to)
    {
        var begin = line >= from ? 0 : chunk.Length;
        for (var at = 0; at < chunk.Length;)
        {
            var feed = chunk[at..].IndexOf((byte)'\n');
            if (feed < 0)
                break;
            at += feed + 1;
            line++;
            if (line == from)
                begin = at;
            if (line == to)
                return (Math.Min(begin, at), at, line);
        }

        return (begin, chunk.Length, line);
    }

    private void Count(ReadOnlySpan<byte> chunk, long position)
    {
        for (var at = 0; chunk[at..].IndexOf((byte)'\n') is var feed and >= 0;)
        {
            at += feed + 1;
            _end = new Mark(_end.Line + 1, position + at);
            if (_end.Line % LinesPerMark == 0)
                _marks.Add(_end);
        }
    }

    private Mark Nearest(long line)
    {
        var best = _marks[(int)Math.Min(line / LinesPerMark, _marks.Count - 1)];
        foreach (var mark in _recent)
        {
            if (mark.Line <= line && mark.Line > best.Line)
                best = mark;
        }

        return best;
    }

    private int Read(long position, byte[] into)
    {
        var read = RandomAccess.Read(_file!, into, position);
        BytesRead += read;
        return read;
    }

    private void Restart()
    {
        Log.Warning($"The measurement list has become shorter: it is read anew.");
        _marks.RemoveRange(1, _marks.Count - 1);
        _recent.Clear();
        _end = new Mark(0, 0);
    }
}

using System.Buffers;
using System.IO.MemoryMappedFiles;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Functions.Storage;

/// <summary>
/// A file as memory: the pages that are looked at are the system's copy of them, which all processes share and which the system takes back when it needs them. The file is only ever
/// replaced or removed, and never written to, so what is mapped stays as it is.
/// </summary>
/// <remarks>
/// The mapping ends when nobody holds the memory any more, and not before: there is no other way to say that it is done with. A span does not hold it: who takes one keeps
/// the memory alive until it is done with the span (<see cref="GC.KeepAlive"/>).
/// </remarks>
internal sealed class MappedFile : MemoryManager<byte>
{
    private const int Chunk = 256 * 1024;

    // It closes itself when nothing leads here any more. A finalizer of our own could run before it, or while a span is in use.
    private readonly SafeMemoryMappedViewHandle _view;
    private readonly int _length;

    private MappedFile(SafeMemoryMappedViewHandle view, int length) => (_view, _length) = (view, length);

    /// <summary>Maps a file once its bytes have been found to be those of the digest.</summary>
    /// <returns><see langword="null"/> if there is none, or if it holds other bytes.</returns>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static ReadOnlyMemory<byte>? Open(string path, string digest)
    {
        if (!File.Exists(path))
            return null;
        try
        {
            using var file = File.OpenHandle(path);
            var length = RandomAccess.GetLength(file);
            if (length > int.MaxValue || !Holds(file, digest))
                return null;
            return length == 0 ? ReadOnlyMemory<byte>.Empty : Map(file, (int)length);
        }
        catch (FileNotFoundException)
        {
            return null; // somebody removed it at this moment
        }
    }

    /// <summary>Whether a file is there and holds the bytes of the digest.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static bool Holds(string path, string digest)
    {
        if (!File.Exists(path))
            return false;
        using var file = File.OpenHandle(path);
        return Holds(file, digest);
    }

    public override Span<byte> GetSpan()
    {
        unsafe
        {
            return new Span<byte>((void*)_view.DangerousGetHandle(), _length);
        }
    }

    public override MemoryHandle Pin(int elementIndex = 0) => throw new NotSupportedException("It does not move; nobody has to pin it.");

    public override void Unpin() => throw new NotSupportedException("It does not move; nobody has to pin it.");

    protected override void Dispose(bool disposing)
    {
        // Somebody may hold a span: see above.
    }

    private static ReadOnlyMemory<byte> Map(SafeFileHandle file, int length)
    {
        using var mapping = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        return new MappedFile(mapping.CreateViewAccessor(0, length, MemoryMappedFileAccess.Read).SafeMemoryMappedViewHandle, length).Memory;
    }

    // Read and not mapped: what was looked at only for this need not stay in memory.
    private static bool Holds(SafeFileHandle file, string digest)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var chunk = ArrayPool<byte>.Shared.Rent(Chunk);
        try
        {
            for (long at = 0; RandomAccess.Read(file, chunk, at) is > 0 and var read; at += read)
                hash.AppendData(chunk, 0, read);
            return Convert.ToHexStringLower(hash.GetHashAndReset()) == digest;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(chunk);
        }
    }
}

using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent.Payloads;

/// <summary>The directory cannot be one for payloads: why, and what to do.</summary>
internal sealed class PayloadDirectoryException(string message, string hint) : IOException(message)
{
    public string Hint { get; } = hint;
}

/// <summary>What stands under a name, itself: a symbolic link is not followed.</summary>
internal readonly record struct FileFacts(bool IsRegular, ulong Inode, ulong Size, uint Owner, uint Mode);

/// <summary>
/// The directory of payloads, by its descriptor. Its path is walked once; what was proven of the descriptor, and what is done by it, is about one and
/// the same directory, whatever becomes of the path. No symbolic link is followed.
/// </summary>
internal sealed partial class PayloadDirectory : IDisposable
{
    private const long Tmpfs = 0x01021994; // TMPFS_MAGIC and RAMFS_MAGIC, statfs(2)
    private const long Ramfs = 0x858458F6;
    private const uint OthersBits = 0x3F; // 077
    private const uint PrivateFile = 0x180; // 0600
    private const int MaxFile = 1024 * 1024;

    private readonly SafeFileHandle _handle;
    private readonly string _path;

    private PayloadDirectory(SafeFileHandle handle, string path) => (_handle, _path) = (handle, path);

    /// <summary>Told before each change, with its name; for whoever wants to know what an end there leaves behind.</summary>
    public Action<string> Before { get; init; } = static _ => { };

    /// <exception cref="PayloadDirectoryException">It is not there, or no directory.</exception>
    public static PayloadDirectory Open(string path, Action<string>? before = null)
    {
        var descriptor = OpenPath(path, ReadOnly | DirectoryOnly | NoFollow | CloseOnExec);
        if (descriptor >= 0)
            return new PayloadDirectory(new SafeFileHandle(descriptor, ownsHandle: true), path) { Before = before ?? (static _ => { }) };

        var error = Marshal.GetLastPInvokeError();
        throw error switch
        {
            NoEntry => new PayloadDirectoryException($"payload_dir {path} is not there.", $"make it on a tmpfs, for who the agent runs as: install -d -m 700 -o keylime -g tss {path}"),
            NotADirectory or Loop => new PayloadDirectoryException($"payload_dir {path} is a symbolic link, or no directory.", "name the directory itself"),
            _ => new PayloadDirectoryException($"payload_dir {path} cannot be opened: {Marshal.GetPInvokeErrorMessage(error)}.", "it is to belong to who the agent runs as, mode 0700"),
        };
    }

    /// <summary>Proves that what is written here is never on a disk, and that nobody else reads it.</summary>
    /// <exception cref="PayloadDirectoryException">It is not so.</exception>
    public void Prove()
    {
        var buffer = new byte[256]; // struct statfs has 120
        Check(StatFileSystem(_handle, buffer), "its file system");
        if (BinaryPrimitives.ReadInt64LittleEndian(buffer) is var type and not (Tmpfs or Ramfs)) // f_type, the first
            throw new PayloadDirectoryException($"payload_dir {_path} is on a file system of type 0x{type:x}, and not on a tmpfs: what is written there could stay on a disk.", "choose a directory below /run");

        var facts = TryStat("", out var self) ? self : throw new PayloadDirectoryException($"payload_dir {_path} cannot be looked at.", "see the kernel's log");
        if (facts.Owner != GetEuid())
            throw new PayloadDirectoryException($"payload_dir {_path} belongs to user {facts.Owner}, and the agent runs as {GetEuid()}.", $"give it to who the agent runs as: chown keylime:tss {_path}");
        if ((facts.Mode & OthersBits) != 0)
            throw new PayloadDirectoryException($"payload_dir {_path} has the mode 0{Convert.ToString(facts.Mode & 0xFFF, 8)}: others may get in.", $"chmod 700 {_path}");
    }

    /// <summary>Keeps other agents out until this is disposed of.</summary>
    /// <exception cref="PayloadDirectoryException">Another one is at work.</exception>
    public void Lock()
    {
        if (FLock(_handle, LockExclusive | LockNonBlocking) != 0)
            throw new PayloadDirectoryException($"payload_dir {_path} is in use by another agent.", "one agent at a time works on a machine's payloads");
    }

    /// <summary>The names of all that stands here, however it is called.</summary>
    public IReadOnlyList<string> Names() =>
        [.. new DirectoryInfo($"/proc/self/fd/{_handle.DangerousGetHandle()}").EnumerateFileSystemInfos().Select(static f => f.Name)];

    /// <param name="name">Empty for the directory itself.</param>
    public bool TryStat(string name, out FileFacts facts)
    {
        facts = default;
        var buffer = new byte[256]; // struct statx, which is the same on every architecture
        if (StatX(_handle, name, StatNoFollow | StatEmptyPath, StatBasic, buffer) != 0)
            return Marshal.GetLastPInvokeError() == NoEntry ? false : throw Failure($"'{name}' cannot be looked at");

        uint Word(int at) => BinaryPrimitives.ReadUInt32LittleEndian(buffer.AsSpan(at));
        ulong Long(int at) => BinaryPrimitives.ReadUInt64LittleEndian(buffer.AsSpan(at));
        var mode = Word(28) & 0xFFFF;
        facts = new FileFacts((mode & TypeMask) == RegularFile, Long(32), Long(40), Word(20), mode & ~TypeMask);
        return true;
    }

    /// <summary>A new file, 0600; one that is there already is an error.</summary>
    public SafeFileHandle Create(string name)
    {
        Before($"create {name}");
        var descriptor = OpenAt(_handle, name, WriteOnly | CreateNew | NoFollow | CloseOnExec, PrivateFile);
        return descriptor >= 0 ? new SafeFileHandle(descriptor, ownsHandle: true) : throw Failure($"'{name}' cannot be made");
    }

    /// <summary>A small file of ours.</summary>
    /// <returns><see langword="null"/> where there is none.</returns>
    public byte[]? Read(string name)
    {
        var descriptor = OpenAt(_handle, name, ReadOnly | NoFollow | NonBlocking | CloseOnExec, 0);
        if (descriptor < 0)
            return Marshal.GetLastPInvokeError() is NoEntry or Loop ? null : throw Failure($"'{name}' cannot be read");
        using var handle = new SafeFileHandle(descriptor, ownsHandle: true);
        var content = new byte[Math.Min(RandomAccess.GetLength(handle), MaxFile)];
        return content[..RandomAccess.Read(handle, content, 0)];
    }

    /// <summary>Puts one file in the place of another, at one moment.</summary>
    public void Rename(string from, string to)
    {
        Before($"rename {from} {to}");
        if (RenameAt(_handle, from, _handle, to) != 0)
            throw Failure($"'{from}' cannot become '{to}'");
    }

    /// <remarks>Nothing is overwritten before: a tmpfs may give each write other pages, and the freed ones are cleared before anybody else gets them.</remarks>
    public void Remove(string name)
    {
        Before($"remove {name}");
        if (UnlinkAt(_handle, name, 0) != 0 && Marshal.GetLastPInvokeError() != NoEntry)
            throw Failure($"'{name}' cannot be removed");
    }

    public void Dispose()
    {
        // A program that is being started shares the descriptor for a moment, and with it the lock: so that is given up, and not only closed.
        if (!_handle.IsInvalid)
            _ = FLock(_handle, LockRelease);
        _handle.Dispose();
    }

    private void Check(int result, string what)
    {
        if (result != 0)
            throw Failure($"{what} cannot be told");
    }

    private IOException Failure(string what) => new($"payload_dir {_path}: {what}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}.");
}

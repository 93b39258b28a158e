using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent.Notices;

/// <summary>What a descriptor stands for.</summary>
/// <param name="Mode">Type and permissions, as in inode(7).</param>
internal readonly record struct FileFacts(uint Owner, uint Mode)
{
    private const uint TypeBits = 0xF000; // 0170000
    private const uint Regular = 0x8000;  // 0100000
    private const uint Sticky = 0x200;    // 01000
    private const uint OthersWrite = 0x12; // 0022
    private const uint AnyExecute = 0x49; // 0111

    public bool IsRegular => (Mode & TypeBits) == Regular;

    public bool IsExecutable => (Mode & AnyExecute) != 0;

    public bool OthersMayWrite => (Mode & OthersWrite) != 0;

    /// <summary>Of a folder: others may put things in it, and not take away or rename what is somebody else's.</summary>
    public bool IsSticky => (Mode & Sticky) != 0;
}

/// <summary>Files by descriptor: what was looked at is what is used, whatever happens to names meanwhile. Links are not followed.</summary>
internal static partial class NativeFiles
{
    private const int NotThere = 2; // ENOENT
    private const int NonBlocking = 0x800;
    private const int CloseOnExec = 0x80000;
    private const int PathOnly = 0x200000;
    private const int EmptyPath = 0x1000;  // AT_EMPTY_PATH
    private const uint BasicStats = 0x7ff; // STATX_BASIC_STATS
    private const int StatxSize = 256;
    private const int OwnerOffset = 20;    // struct statx is the same on all machines, struct stat is not
    private const int ModeOffset = 28;

    // asm/fcntl.h: these two differ.
    private static readonly int OnlyFolder = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x4000 : 0x10000;
    private static readonly int NoFollow = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? 0x8000 : 0x20000;

    /// <exception cref="IOException">It is not there, is no folder, or may not be passed through.</exception>
    public static SafeFileHandle OpenRoot() => Opened(Open("/", PathOnly | OnlyFolder | CloseOnExec), "/");

    /// <exception cref="IOException">It is not there, is no folder, or may not be passed through.</exception>
    public static SafeFileHandle OpenFolder(SafeFileHandle parent, string name) => Opened(OpenAt(parent, name, PathOnly | OnlyFolder | NoFollow | CloseOnExec), name);

    /// <summary>Opens a file to read and to run it: a program that is started has the descriptor too, because the interpreter of a script reads it by that.</summary>
    /// <returns><see langword="null"/> where there is none of that name.</returns>
    /// <exception cref="IOException">It is a link, or may not be read.</exception>
    public static SafeFileHandle? OpenProgram(SafeFileHandle folder, string name)
    {
        var handle = OpenAt(folder, name, NoFollow | NonBlocking); // a pipe would keep us waiting
        if (!handle.IsInvalid || Marshal.GetLastPInvokeError() != NotThere)
            return Opened(handle, name);
        handle.Dispose();
        return null;
    }

    /// <exception cref="IOException">The kernel does not tell.</exception>
    public static FileFacts FactsOf(SafeFileHandle handle)
    {
        var buffer = new byte[StatxSize];
        if (Statx(handle, "", EmptyPath, BasicStats, buffer) != 0)
            throw new IOException($"statx: {Marshal.GetLastPInvokeErrorMessage()}");
        return new FileFacts(BinaryPrimitives.ReadUInt32LittleEndian(buffer.AsSpan(OwnerOffset)), BinaryPrimitives.ReadUInt16LittleEndian(buffer.AsSpan(ModeOffset)));
    }

    private static SafeFileHandle Opened(SafeFileHandle handle, string name)
    {
        if (!handle.IsInvalid)
            return handle;
        var why = Marshal.GetLastPInvokeErrorMessage();
        handle.Dispose();
        throw new IOException($"'{name}': {why}");
    }

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial SafeFileHandle Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "openat", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial SafeFileHandle OpenAt(SafeFileHandle folder, string path, int flags);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Statx(SafeFileHandle handle, string path, int flags, uint mask, byte[] buffer);
}

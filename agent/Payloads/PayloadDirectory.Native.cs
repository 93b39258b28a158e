using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent.Payloads;

// Of Linux on x64 and arm64: open(2), statx(2), errno(3).
internal sealed partial class PayloadDirectory
{
    private const int ReadOnly = 0;
    private const int WriteOnly = 1;
    private const int CreateNew = 0x40 | 0x80; // O_CREAT, O_EXCL
    private const int NonBlocking = 0x800;     // a pipe in a file's place keeps nobody waiting
    private const int CloseOnExec = 0x80000;
    private const int LockExclusive = 2;
    private const int LockNonBlocking = 4;
    private const int LockRelease = 8;
    private const int StatNoFollow = 0x100;
    private const int StatEmptyPath = 0x1000;
    private const uint StatBasic = 0x7FF;
    private const uint TypeMask = 0xF000;
    private const uint RegularFile = 0x8000;
    private const int NoEntry = 2;
    private const int NotADirectory = 20;
    private const int Loop = 40;

    private static readonly bool IsArm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
    private static readonly int DirectoryOnly = IsArm ? 0x4000 : 0x10000;
    private static readonly int NoFollow = IsArm ? 0x8000 : 0x20000;

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int OpenPath(string path, int flags);

    [LibraryImport("libc", EntryPoint = "openat", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int OpenAt(SafeFileHandle directory, string name, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "renameat", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int RenameAt(SafeFileHandle fromDirectory, string from, SafeFileHandle toDirectory, string to);

    [LibraryImport("libc", EntryPoint = "unlinkat", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int UnlinkAt(SafeFileHandle directory, string name, int flags);

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int StatX(SafeFileHandle directory, string name, int flags, uint mask, byte[] buffer);

    [LibraryImport("libc", EntryPoint = "fstatfs", SetLastError = true)]
    private static partial int StatFileSystem(SafeFileHandle file, byte[] buffer);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int FLock(SafeFileHandle file, int operation);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetEuid();
}

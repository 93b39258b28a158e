using System.ComponentModel;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent.Notices;

/// <summary>
/// Starts a program that is open (posix_spawn(3)) and looks after it. The runtime's own class for that would make the agent half a megabyte larger, and hands down what we do not want handed down.
/// </summary>
internal static partial class NativePrograms
{
    private const int CloseOnExec = 1;   // MFD_CLOEXEC
    private const int ReadWrite = 2;     // O_RDWR
    private const short OwnGroup = 2;    // POSIX_SPAWN_SETPGROUP
    private const short Defaults = 4;    // POSIX_SPAWN_SETSIGDEF
    private const short NothingHeld = 8; // POSIX_SPAWN_SETSIGMASK
    private const int DoNotWait = 1;     // WNOHANG
    private const int Kill = 9;          // SIGKILL
    private const int Structure = 1024;  // more than any of these has, in glibc and musl
    private const uint Signals = 0x7FFFFFFF & ~(1u << 8) & ~(1u << 18); // 1 to 31, but for SIGKILL and SIGSTOP

    /// <summary>Starts the file of the descriptor, in a process group of its own, with <c>/</c> as its directory and no output.</summary>
    /// <param name="input">Its standard input.</param>
    /// <returns>Its id, to be waited for.</returns>
    /// <exception cref="IOException">It cannot be started.</exception>
    public static int Start(SafeFileHandle program, byte[] input, string name, string environment)
    {
        using var given = MemoryFile("notice", CloseOnExec);
        if (given.IsInvalid)
            throw new IOException($"memfd_create: {Marshal.GetLastPInvokeErrorMessage()}");
        RandomAccess.Write(given, input, 0); // and the place that it is read from is its start

        var (actions, attributes, signals) = (new byte[Structure], new byte[Structure], new byte[Structure]);
        BitConverter.TryWriteBytes(signals, Signals);
        Check(ActionsInit(actions));
        Check(AttributesInit(attributes));
        var (path, argument, variable) = ($"/proc/self/fd/{program.DangerousGetHandle()}", Marshal.StringToCoTaskMemUTF8(name), Marshal.StringToCoTaskMemUTF8(environment));
        try
        {
            Check(AddDuplicate(actions, given, 0));
            Check(AddOpen(actions, 1, "/dev/null", ReadWrite, 0));
            Check(AddOpen(actions, 2, "/dev/null", ReadWrite, 0));
            Check(AddFolder(actions, "/"));
            Check(SetFlags(attributes, OwnGroup | Defaults | NothingHeld));
            Check(SetDefaults(attributes, signals)); // the runtime ignores some, which would be handed down
            Check(Spawn(out var id, path, actions, attributes, [argument, 0], [variable, 0]));
            return id;
        }
        finally
        {
            Marshal.FreeCoTaskMem(argument);
            Marshal.FreeCoTaskMem(variable);
            _ = ActionsDestroy(actions);
            _ = AttributesDestroy(attributes);
            GC.KeepAlive(program);
        }
    }

    /// <returns>How it ended, as a shell has it: 128 and the signal's number where that was a signal. <see langword="null"/> as long as it runs.</returns>
    public static int? EndOf(int id) => WaitPid(id, out var status, DoNotWait) != id ? null : (status & 0x7F) is var signal and not 0 ? 128 + signal : status >> 8 & 0xFF;

    /// <summary>Ends it, and whatever it started that stayed in its group.</summary>
    public static void KillGroup(int id) => _ = SendSignal(-id, Kill);

    private static void Check(int error)
    {
        if (error != 0)
            throw new IOException(new Win32Exception(error).Message);
    }

    [LibraryImport("libc", EntryPoint = "memfd_create", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial SafeFileHandle MemoryFile(string name, int flags);

    [LibraryImport("libc", EntryPoint = "posix_spawn", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Spawn(out int id, string path, byte[] actions, byte[] attributes, nint[] arguments, nint[] environment);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_init")]
    private static partial int ActionsInit(byte[] actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_destroy")]
    private static partial int ActionsDestroy(byte[] actions);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_adddup2")]
    private static partial int AddDuplicate(byte[] actions, SafeFileHandle from, int to);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addopen", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AddOpen(byte[] actions, int to, string path, int flags, uint mode);

    [LibraryImport("libc", EntryPoint = "posix_spawn_file_actions_addchdir_np", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int AddFolder(byte[] actions, string path);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_init")]
    private static partial int AttributesInit(byte[] attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_destroy")]
    private static partial int AttributesDestroy(byte[] attributes);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setflags")]
    private static partial int SetFlags(byte[] attributes, short flags);

    [LibraryImport("libc", EntryPoint = "posix_spawnattr_setsigdefault")]
    private static partial int SetDefaults(byte[] attributes, byte[] signals);

    [LibraryImport("libc", EntryPoint = "waitpid")]
    private static partial int WaitPid(int id, out int status, int options);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int SendSignal(int id, int signal);
}

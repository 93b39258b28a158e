using System.Runtime.InteropServices;

namespace Keylime.Agent;

/// <summary>Becomes somebody who may do less, and cannot go back.</summary>
internal static partial class Privileges
{
    private const int SetNoNewPrivileges = 38; // PR_SET_NO_NEW_PRIVS, prctl(2)
    private const int UidOffset = 16;          // struct passwd and struct group: two pointers, then the id (glibc and musl, 64 bits)

    /// <param name="runAs"><c>user:group</c>; empty to stay.</param>
    /// <exception cref="OptionsException">There is no such user or group, or the change did not take.</exception>
    public static void Drop(string runAs)
    {
        // Whatever happens later, no program that this one could start gets more rights than it has.
        if (Prctl(SetNoNewPrivileges, 1, 0, 0, 0) != 0)
            throw new OptionsException("The kernel refuses PR_SET_NO_NEW_PRIVS.", "Linux 3.5 or later is needed");
        if (runAs.Length == 0)
        {
            if (GetEuid() == 0)
                Log.Warning($"The agent runs as root; run_as = \"keylime:tss\" is better.");
            return;
        }

        if (GetEuid() != 0)
            return; // systemd, or whoever started it, has done it

        if (runAs.Split(':') is not [var user, var group])
            throw new OptionsException($"run_as '{runAs}' is not user:group.", "for example keylime:tss");
        var (uid, gid) = (Id(GetPwNam(user), "user", user), Id(GetGrNam(group), "group", group));
        if (SetGroups(1, [gid]) != 0 || SetGid(gid) != 0 || SetUid(uid) != 0)
            throw new OptionsException($"run_as '{runAs}': the change was refused.", "the agent has to start as root to become somebody else");
        if (uid != 0 && SetUid(0) == 0)
            throw new OptionsException($"run_as '{runAs}': root could be had back.", "this is a bug of the system; do not run the agent so");
        Log.Info($"Runs as {user}:{group} from here.");
    }

    private static uint Id(nint entry, string kind, string name) => entry == 0
        ? throw new OptionsException($"run_as: there is no {kind} '{name}'.", $"make it, for example with 'adduser --system --group {name}'")
        : (uint)Marshal.ReadInt32(entry, UidOffset);

    [LibraryImport("libc", EntryPoint = "prctl")]
    private static partial int Prctl(int option, nuint a2, nuint a3, nuint a4, nuint a5);

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint GetEuid();

    [LibraryImport("libc", EntryPoint = "getpwnam", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint GetPwNam(string name);

    [LibraryImport("libc", EntryPoint = "getgrnam", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint GetGrNam(string name);

    [LibraryImport("libc", EntryPoint = "setgroups")]
    private static partial int SetGroups(nuint count, uint[] groups);

    [LibraryImport("libc", EntryPoint = "setgid")]
    private static partial int SetGid(uint gid);

    [LibraryImport("libc", EntryPoint = "setuid")]
    private static partial int SetUid(uint uid);
}

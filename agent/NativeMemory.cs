using System.Runtime.InteropServices;

namespace Keylime.Agent;

/// <summary>A moment of work, a minute of sleep: what the moment took goes back to the machine.</summary>
internal static partial class NativeMemory
{
    private static bool s_isMissing;

    public static void Return()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        if (s_isMissing)
            return;
        try
        {
            _ = Trim(0); // what OpenSSL has freed stays with the C library otherwise, of each thread's arena
        }
        catch (EntryPointNotFoundException)
        {
            s_isMissing = true; // another C library than glibc, which keeps less
        }
    }

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int Trim(nuint pad);
}

using System.Runtime.InteropServices;

namespace Keylime.Agent;

/// <summary>What the agent holds beside the runtime's own heap, which is for a small one.</summary>
internal static partial class SmallHeap
{
    private static bool s_isMissing;

    /// <summary>Every connection has one CA, the one that was given; the runtime would read all that the system trusts beside it, and keep some hundred certificates. To be called before anything else.</summary>
    public static void LeaveSystemCertificates()
    {
        foreach (var name in (string[])["SSL_CERT_DIR", "SSL_CERT_FILE"]) // OpenSSL's, which the runtime asks where they are
            _ = SetVariable(name, "/nonexistent", overwrite: 1);
    }

    /// <summary>A moment of work, a minute of sleep: what the moment took goes back to the machine.</summary>
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

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int SetVariable(string name, string value, int overwrite);

    [LibraryImport("libc", EntryPoint = "malloc_trim")]
    private static partial int Trim(nuint pad);
}

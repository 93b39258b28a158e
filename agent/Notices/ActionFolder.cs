using Keylime.Protocol.Notices;
using Microsoft.Win32.SafeHandles;

namespace Keylime.Agent.Notices;

/// <summary>
/// The folder of local actions: programs that were installed beforehand, of which a notice chooses one by its type. Nothing in the folder, and no folder above it, may be for anybody but root
/// to change; that is looked at each time, on the descriptors that are used then.
/// </summary>
/// <param name="path">Absolute.</param>
internal sealed class ActionFolder(string path)
{
    /// <summary>The action for whatever has none of its own.</summary>
    public const string Any = "any";

    /// <summary>Who has to own it all.</summary>
    public uint Owner { get; init; }

    /// <summary>Opens the action for a type: the file of that name, or else <see cref="Any"/>. What a service says is never a name: it only chooses among those that are known here.</summary>
    /// <returns><see langword="null"/> where none is installed.</returns>
    /// <exception cref="ActionRefusedException">There is one, and it may not run.</exception>
    public SafeFileHandle? Open(string type)
    {
        try
        {
            using var folder = OpenFolder();
            foreach (var name in NoticeTypes.All.Append(LostNotices.TypeName).Where(known => known == type).Append(Any))
            {
                if (NativeFiles.OpenProgram(folder, name) is not { } program)
                    continue;
                if (Objection(NativeFiles.FactsOf(program)) is not { } objection)
                    return program;
                program.Dispose();
                throw new ActionRefusedException($"'{Path.Combine(path, name)}' does not run: {objection}");
            }

            return null;
        }
        catch (IOException e)
        {
            throw new ActionRefusedException($"'{path}': the action for {type} cannot be opened: {e.Message}");
        }
    }

    private SafeFileHandle OpenFolder()
    {
        var handle = NativeFiles.OpenRoot();
        var parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        for (var i = 0; i <= parts.Length; i++)
        {
            // Above it others may have what is theirs, as in /tmp: they cannot put another folder in place of this one.
            var facts = NativeFiles.FactsOf(handle);
            if (facts.Owner != Owner && facts.Owner != 0 || facts.OthersMayWrite && (i == parts.Length || !facts.IsSticky) || i == parts.Length && facts.Owner != Owner)
            {
                handle.Dispose();
                throw new ActionRefusedException($"No action runs: '/{string.Join('/', parts[..i])}' is not root's alone to change (owner {facts.Owner}, mode {Octal(facts)}).");
            }

            if (i == parts.Length)
                break;
            using var parent = handle;
            handle = NativeFiles.OpenFolder(parent, parts[i]);
        }

        return handle;
    }

    private string? Objection(FileFacts facts) =>
        !facts.IsRegular ? "it is no regular file."
        : facts.Owner != Owner || facts.OthersMayWrite ? $"it is not root's alone to change (owner {facts.Owner}, mode {Octal(facts)})."
        : !facts.IsExecutable ? $"it is not executable (mode {Octal(facts)})."
        : null;

    private static string Octal(FileFacts facts) => "0" + Convert.ToString(facts.Mode & 0xFFF, 8);
}

/// <summary>An action is there, and is not to run.</summary>
internal sealed class ActionRefusedException(string message) : Exception(message);

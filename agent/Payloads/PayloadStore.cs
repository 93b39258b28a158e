using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Payloads;

/// <summary>
/// The payloads of this machine, each a file of its name. The directory is the agent's own: what stands there and is not accounted for is removed. A payload is there
/// whole or not at all, in its old version or its new one, wherever the agent is killed.
/// </summary>
internal sealed class PayloadStore : IDisposable
{
    private const string StateFile = ".state"; // no payload's name begins with a dot
    private const string NextState = ".state.next";
    private const string NextFile = ".next";

    private readonly PayloadDirectory _directory;
    private readonly List<HeldPayload> _held;

    private PayloadStore(PayloadDirectory directory, List<HeldPayload> held) => (_directory, _held) = (directory, held);

    /// <summary>Those that the service has not been told of.</summary>
    public IReadOnlyList<HeldPayload> Untold => [.. _held.Where(static h => !h.Told)];

    public bool IsEmpty => _held.Count == 0;

    /// <summary>Opens a directory that can take payloads.</summary>
    /// <exception cref="PayloadDirectoryException">It cannot.</exception>
    public static PayloadStore Open(string path, Action<string>? before = null)
    {
        var directory = PayloadDirectory.Open(path, before);
        try
        {
            directory.Prove();
            directory.Lock();
            if (!directory.TryStat(StateFile, out _))
            {
                // What others put there is not ours to remove.
                if (directory.Names().FirstOrDefault(static n => n != NextState) is { } other)
                    throw new PayloadDirectoryException($"payload_dir {path} holds '{other}', which is not the agent's.", "the directory is for payloads alone: empty it, or choose another");
                Save(directory, []);
            }

            return Load(directory);
        }
        catch
        {
            directory.Dispose();
            throw;
        }
    }

    /// <summary>Opens a directory that has taken payloads, whatever became of it meanwhile, to look at them or to wipe them.</summary>
    /// <returns><see langword="null"/> where it has not.</returns>
    /// <exception cref="IOException">It cannot be opened.</exception>
    public static PayloadStore? OpenExisting(string path)
    {
        if (path.Length == 0 || !Path.Exists(path))
            return null;
        var directory = PayloadDirectory.Open(path);
        try
        {
            if (directory.TryStat(StateFile, out _))
            {
                directory.Lock();
                return Load(directory);
            }

            directory.Dispose();
            return null;
        }
        catch
        {
            directory.Dispose();
            throw;
        }
    }

    public bool Has(string name, long version) => _held.Exists(h => h.Name == name && h.Version == version && !h.Gone);

    /// <summary>Writes a payload, and puts it in the place of its older version once it is whole.</summary>
    /// <param name="fill">Writes the content; if it throws, everything stays as it was.</param>
    public async Task WriteAsync(PayloadOffer offer, string release, Func<Stream, Task> fill)
    {
        try
        {
            await using (var file = new FileStream(_directory.Create(NextFile), FileAccess.Write, bufferSize: 0))
            {
                await fill(file);
                if (file.Length != offer.Size)
                    throw new IOException($"{file.Length} bytes came, {offer.Size} were announced.");
                file.Flush(flushToDisk: true);
            }

            _ = _directory.TryStat(NextFile, out var facts);
            var held = new HeldPayload(offer.Name, offer.Version, release, facts.Inode, Gone: false, Told: false);
            Save(_directory, _held, held);
            _directory.Rename(NextFile, offer.Name);
            _held.RemoveAll(h => h.Name == offer.Name);
            _held.Add(held); // the state file has it as the next one, whose inode stands there now
        }
        catch
        {
            _directory.Remove(NextFile);
            throw;
        }
    }

    /// <summary>Removes payloads. They are gone before anything else is done; if one cannot be, the others are all the same.</summary>
    /// <exception cref="IOException">One could not be removed.</exception>
    public IReadOnlyList<HeldPayload> Wipe(Func<HeldPayload, bool> which)
    {
        IOException? failure = null;
        var wiped = new List<HeldPayload>();
        for (var i = 0; i < _held.Count; i++)
        {
            if (_held[i].Gone || !which(_held[i]))
                continue;
            try
            {
                _directory.Remove(_held[i].Name);
                _held[i] = _held[i] with { Gone = true, Told = false };
                wiped.Add(_held[i]);
            }
            catch (IOException e)
            {
                failure ??= e;
            }
        }

        if (wiped.Count > 0)
            Save(_directory, _held);
        return failure is null ? wiped : throw failure;
    }

    /// <summary>The service knows: what is gone needs not be remembered any longer.</summary>
    public void MarkTold(HeldPayload payload)
    {
        var at = _held.IndexOf(payload);
        if (payload.Gone)
            _held.RemoveAt(at);
        else
            _held[at] = payload with { Told = true };
        Save(_directory, _held);
    }

    public void Dispose() => _directory.Dispose();

    private static PayloadStore Load(PayloadDirectory directory)
    {
        var state = directory.Read(StateFile) is { } content ? PayloadState.TryParse(content) : null;
        if (state is null)
            Log.Warning($"The list of payloads cannot be read: they are removed, and asked for again.");

        var held = (state?.Payloads ?? []).Where(static h => h is not null && PayloadName.IsValid(h.Name)).ToList();
        if (state?.Next is { } next && Stands(directory, next))
        {
            held.RemoveAll(h => h.Name == next.Name);
            held.Add(next);
        }

        for (var i = 0; i < held.Count; i++)
        {
            if (!held[i].Gone && !Stands(directory, held[i]))
                held[i] = held[i] with { Gone = true, Told = false };
        }

        var store = new PayloadStore(directory, held);
        store.Tidy();
        return store;
    }

    private static bool Stands(PayloadDirectory directory, HeldPayload payload) =>
        PayloadName.IsValid(payload.Name) && directory.TryStat(payload.Name, out var facts) && facts.IsRegular && facts.Inode == payload.Inode;

    // Half-written files of a run that was killed, and what somebody else has put here.
    private void Tidy()
    {
        foreach (var name in _directory.Names())
        {
            if (name == StateFile || _held.Exists(h => h.Name == name && !h.Gone))
                continue;
            try
            {
                _directory.Remove(name);
            }
            catch (IOException e)
            {
                Log.Warning($"{e.Message} It is not of the agent."); // a directory; a payload of that name will fail
            }
        }
    }

    private static void Save(PayloadDirectory directory, IReadOnlyList<HeldPayload> held, HeldPayload? next = null)
    {
        try
        {
            directory.Remove(NextState);
            using (var file = new FileStream(directory.Create(NextState), FileAccess.Write, bufferSize: 0))
                file.Write(PayloadState.Encode(new PayloadState(held, next)));
            directory.Rename(NextState, StateFile);
        }
        catch
        {
            directory.Remove(NextState);
            throw;
        }
    }
}

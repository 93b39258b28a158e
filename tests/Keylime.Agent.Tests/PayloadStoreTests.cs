using System.Diagnostics;
using Keylime.Agent.Payloads;
using Keylime.Protocol.Payloads;
using Keylime.Testing;

namespace Keylime.Agent.Tests;

/// <summary>The directory of payloads: what stands there is whole, accounted for, and of nobody else; wherever the agent is killed, whoever plays with the path.</summary>
public sealed class PayloadStoreTests : IDisposable
{
    private readonly Tmpfs _tmpfs = Tmpfs.Make();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _tmpfs.Dispose();

    [Fact]
    public async Task Killed_at_any_step_it_leaves_the_old_file_the_new_one_or_none_and_knows_which()
    {
        // Once to its end, to know the steps: a new version, that it is told, that it is wiped.
        var steps = new List<string>();
        await PrepareAsync();
        await KilledStore.RunAsync(_tmpfs.Path, steps.Add);
        Assert.Contains("fill", steps);
        Assert.Contains("rename .next a", steps);
        Assert.Contains("remove a", steps);

        var seen = new HashSet<string>();
        for (var step = 0; step < steps.Count; step++)
        {
            await PrepareAsync();
            Assert.Equal(128 + 9, await KilledStore.RunAndKillAsync(_tmpfs.Path, step, Cancel));
            using var store = PayloadStore.Open(_tmpfs.Path);
            string[] files = File.Exists(_tmpfs["a"]) ? [".state", "a"] : [".state"];
            Assert.Equal(files, _tmpfs.Names); // nothing half done
            var content = files.Length == 2 ? await File.ReadAllTextAsync(_tmpfs["a"], Cancel) : null;
            Assert.Equal((content == KilledStore.Old, content == KilledStore.New), (store.Has("a", 1), store.Has("a", 2)));
            seen.Add($"{content} {string.Join(',', store.Untold.Select(static h => $"{h.Version} {h.Gone}"))}");
        }

        // All that there is between: the old one, the new one told and untold, gone untold. Each step is killed before it is done, so the last of them is never seen.
        Assert.Equal([" 2 True", "a new one ", "a new one 2 False", "an old one "], seen.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task What_goes_wrong_while_it_is_written_leaves_the_old_one()
    {
        await PrepareAsync();
        using var store = PayloadStore.Open(_tmpfs.Path);
        await Assert.ThrowsAsync<PayloadFormatException>(() => store.WriteAsync(new PayloadOffer("a", 2, 5), "r2", static async file =>
        {
            await file.WriteAsync("half"u8.ToArray());
            throw new PayloadFormatException("no", 1);
        }));
        Assert.Contains("4 bytes came, 5 were announced", (await Assert.ThrowsAsync<IOException>(
            () => store.WriteAsync(new PayloadOffer("a", 2, 5), "r2", static async file => await file.WriteAsync("four"u8.ToArray())))).Message, StringComparison.Ordinal);
        Assert.Equal([".state", "a"], _tmpfs.Names);
        Assert.Equal(KilledStore.Old, await File.ReadAllTextAsync(_tmpfs["a"], Cancel));
        Assert.True(store.Has("a", 1));
    }

    [Fact]
    public async Task What_stands_there_and_is_not_accounted_for_is_removed()
    {
        await PrepareAsync();
        await File.WriteAllTextAsync(_tmpfs["b"], "somebody's", Cancel);
        await File.WriteAllTextAsync(_tmpfs[".next"], "half", Cancel);
        await File.WriteAllTextAsync(_tmpfs["other"], "somebody's", Cancel);
        File.Move(_tmpfs["other"], _tmpfs["a"], overwrite: true); // in place of ours
        using var store = PayloadStore.Open(_tmpfs.Path);
        Assert.Equal([".state"], _tmpfs.Names);
        Assert.False(store.Has("a", 1));
        Assert.Equal(("a", true), (Assert.Single(store.Untold).Name, store.Untold[0].Gone));
    }

    [Theory]
    [InlineData("")]
    [InlineData("keylime payloads 2\n")]
    [InlineData("keylime payloads 1")]
    [InlineData("keylime payloads 1\nhere told a 1 2")]
    [InlineData("keylime payloads 1\nhere told a 1 2\n")]
    [InlineData("keylime payloads 1\nhere told ../a 1 2 r\n")]
    [InlineData("keylime payloads 1\nhere told a -1 2 r\n")]
    [InlineData("keylime payloads 1\nthere told a 1 2 r\n")]
    public async Task A_list_that_cannot_be_read_is_no_list(string list)
    {
        await PrepareAsync();
        await File.WriteAllTextAsync(_tmpfs[".state"], list, Cancel);
        using var store = PayloadStore.Open(_tmpfs.Path);
        Assert.Equal([".state"], _tmpfs.Names);
        Assert.True(store.IsEmpty);
        await store.WriteAsync(new PayloadOffer("a", 3, 3), "r3", static async file => await file.WriteAsync("new"u8.ToArray()));
        Assert.Equal("new", await File.ReadAllTextAsync(_tmpfs["a"], Cancel));
    }

    [Fact]
    public async Task Whatever_becomes_of_the_path_it_is_the_directory_that_was_proven()
    {
        await PrepareAsync();
        using var elsewhere = Tmpfs.Make();
        var moved = _tmpfs.Path + "-moved";
        using (var store = PayloadStore.Open(_tmpfs.Path))
        {
            Directory.Move(_tmpfs.Path, moved);
            Directory.CreateSymbolicLink(_tmpfs.Path, elsewhere.Path);
            try
            {
                await store.WriteAsync(new PayloadOffer("a", 2, 3), "r2", static async file => await file.WriteAsync("new"u8.ToArray()));
                Assert.Empty(elsewhere.Names);
                Assert.Equal("new", await File.ReadAllTextAsync(Path.Combine(moved, "a"), Cancel));
                store.Wipe(static _ => true);
                Assert.False(File.Exists(Path.Combine(moved, "a")));
                Assert.Contains("symbolic link", Assert.Throws<PayloadDirectoryException>(() => PayloadStore.Open(_tmpfs.Path)).Message, StringComparison.Ordinal);
            }
            finally
            {
                File.Delete(_tmpfs.Path);
                Directory.Move(moved, _tmpfs.Path);
            }
        }
    }

    [Fact]
    public async Task One_agent_at_a_time_and_a_directory_in_a_payloads_place_is_an_error_of_that_payload()
    {
        await PrepareAsync();
        using var store = PayloadStore.Open(_tmpfs.Path);
        Assert.Contains("in use by another agent", Assert.Throws<PayloadDirectoryException>(() => PayloadStore.Open(_tmpfs.Path)).Message, StringComparison.Ordinal);
        Directory.CreateDirectory(_tmpfs["b"]);
        Assert.Contains("'.next' cannot become 'b'", (await Assert.ThrowsAsync<IOException>(
            () => store.WriteAsync(new PayloadOffer("b", 1, 3), "r", static async file => await file.WriteAsync("new"u8.ToArray())))).Message, StringComparison.Ordinal);
        Assert.Equal([".state", "a", "b"], _tmpfs.Names);
        await store.WriteAsync(new PayloadOffer("c", 1, 3), "r", static async file => await file.WriteAsync("new"u8.ToArray()));
        Assert.Equal([true, false, true], (bool[])[store.Has("a", 1), store.Has("b", 1), store.Has("c", 1)]);
    }

    [Fact]
    public async Task It_is_wiped_even_where_others_may_get_in_meanwhile()
    {
        await PrepareAsync();
        File.SetUnixFileMode(_tmpfs.Path, (UnixFileMode)0x1FF); // 0777
        Assert.Throws<PayloadDirectoryException>(() => PayloadStore.Open(_tmpfs.Path));
        using var store = PayloadStore.OpenExisting(_tmpfs.Path);
        Assert.Single(store!.Wipe(static _ => true));
        Assert.Equal([".state"], _tmpfs.Names);
    }

    [Fact]
    public async Task A_ramfs_is_as_good()
    {
        Assert.True(Environment.IsPrivilegedProcess, "only root mounts");
        await ToolProcess.RunAsync("mount", "/", ["-t", "ramfs", "none", _tmpfs.Path], tcti: null);
        try
        {
            File.SetUnixFileMode(_tmpfs.Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
            await PrepareAsync();
            Assert.Equal([".state", "a"], _tmpfs.Names);
        }
        finally
        {
            await ToolProcess.RunAsync("umount", "/", ["-l", _tmpfs.Path], tcti: null);
        }
    }

    // The first version, which the service knows of.
    private async Task PrepareAsync()
    {
        foreach (var name in _tmpfs.Names.ToArray())
            File.Delete(_tmpfs[name]);
        using var store = PayloadStore.Open(_tmpfs.Path);
        await store.WriteAsync(new PayloadOffer("a", 1, KilledStore.Old.Length), "r1", static async file => await file.WriteAsync(System.Text.Encoding.ASCII.GetBytes(KilledStore.Old)));
        store.MarkTold(Assert.Single(store.Untold));
    }
}

/// <summary>What an agent does with a payload's new version, in a process of its own that kills itself at one step.</summary>
internal static class KilledStore
{
    public const string Old = "an old one";
    public const string New = "a new one";
    private const string Variable = "KEYLIME_TEST_KILLED_STORE";

    /// <param name="before">Told before each step.</param>
    public static async Task RunAsync(string path, Action<string> before)
    {
        using var store = PayloadStore.Open(path, before);
        await store.WriteAsync(new PayloadOffer("a", 2, New.Length), "r2", file =>
        {
            file.Write(System.Text.Encoding.ASCII.GetBytes(New[..4]));
            before("fill");
            file.Write(System.Text.Encoding.ASCII.GetBytes(New[4..]));
            return Task.CompletedTask;
        });
        store.MarkTold(store.Untold.Single());
        store.Wipe(static _ => true);
    }

    /// <returns>What the process ended with.</returns>
    public static async Task<int> RunAndKillAsync(string path, int step, CancellationToken cancel)
    {
        var start = new ProcessStartInfo(Environment.ProcessPath!) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment[Variable] = $"{step} {path}";
        using var process = Process.Start(start)!;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(TimeSpan.FromSeconds(60));
        try
        {
            await process.WaitForExitAsync(limit.Token);
            return process.ExitCode;
        }
        finally
        {
            process.Kill();
        }
    }

    // Before the program's own start, where it was started for this. On one thread: until this has returned, no other may use the assembly.
    [System.Runtime.CompilerServices.ModuleInitializer]
    internal static void Start()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { } told)
            return;
        var (left, path) = (int.Parse(told.Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture), told.Split(' ', 2)[1]);
        RunAsync(path, _ =>
        {
            if (left-- > 0)
                return;
            Process.GetCurrentProcess().Kill();
            Thread.Sleep(Timeout.Infinite);
        }).GetAwaiter().GetResult();
        Environment.Exit(0);
    }
}

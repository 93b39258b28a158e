using Keylime.Agent.Notices;
using Keylime.Testing;

namespace Keylime.Agent.Tests;

/// <summary>Only what was installed beforehand runs, and it gets nothing but the notice.</summary>
public sealed class LocalActionTests : IDisposable
{
    private const UnixFileMode OwnerAll = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private readonly NoticeRig _rig = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task An_action_has_an_empty_environment_no_argument_and_the_notice_and_nothing_else()
    {
        _rig.Install("any", $"tr '\\0' '\\n' < /proc/$$/environ > {_rig.Output}; echo \"$# $(pwd) $(cat)\" >> {_rig.Output}");
        await _rig.StartAtAsync(0);
        await _rig.TakeAsync(1, _rig.Sign(1));
        Assert.Equal(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", $"0 / {NoticeRig.Json(1)}"], _rig.Done);
    }

    [Theory]
    [InlineData("others may write it", "mode 0722")]
    [InlineData("its group may write it", "mode 0720")]
    [InlineData("not executable", "not executable")]
    [InlineData("a link", "cannot be opened")]
    [InlineData("a folder", "no regular file")]
    [InlineData("a pipe", "no regular file")]
    [InlineData("others may write the folder", "/actions' is not root's alone")]
    [InlineData("the folder is a link", "cannot be opened")]
    [InlineData("others may change a folder above", "' is not root's alone")]
    [InlineData("of another user", "owner 65534")]
    [InlineData("the folder is not there", "cannot be opened")]
    public async Task What_others_could_have_put_there_does_not_run(string what, string why)
    {
        var path = _rig.Record("any");
        await _rig.StartAtAsync(0);
        switch (what)
        {
            case "others may write it":
                File.SetUnixFileMode(path, OwnerAll | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite);
                break;
            case "its group may write it":
                File.SetUnixFileMode(path, OwnerAll | UnixFileMode.GroupWrite);
                break;
            case "not executable":
                File.SetUnixFileMode(path, UnixFileMode.UserRead);
                break;
            case "a link":
                File.Move(path, path + ".real");
                File.CreateSymbolicLink(path, path + ".real");
                break;
            case "a folder":
                File.Delete(path);
                Directory.CreateDirectory(path, OwnerAll);
                break;
            case "a pipe":
                File.Delete(path);
                await ToolProcess.RunAsync("mkfifo", _rig.Folder, [path], null);
                break;
            case "others may write the folder":
                File.SetUnixFileMode(_rig.Actions, OwnerAll | UnixFileMode.OtherWrite);
                break;
            case "the folder is a link":
                Directory.Move(_rig.Actions, _rig.Actions + ".real");
                Directory.CreateSymbolicLink(_rig.Actions, _rig.Actions + ".real");
                break;
            case "others may change a folder above":
                File.SetUnixFileMode(_rig.Folder, OwnerAll | UnixFileMode.GroupWrite);
                break;
            case "of another user":
                Assert.True(Environment.UserName == "root", "Only root gives files away.");
                await ToolProcess.RunAsync("chown", _rig.Folder, ["65534", path], null);
                break;
            default:
                Directory.Delete(_rig.Actions, recursive: true);
                break;
        }

        var refused = Assert.Throws<ActionRefusedException>(() => _rig.ActionFolder.Open("node.failed"));
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);

        // The notice is dealt with all the same: it is said, and later ones do not wait for it.
        await _rig.TakeAsync(1, _rig.Sign(1));
        Assert.Equal(1, _rig.Inbox.After);
        Assert.Empty(_rig.Done);
    }

    [Fact]
    public async Task What_was_looked_at_is_what_runs()
    {
        var path = _rig.Install("any", $"echo the first >> {_rig.Output}");
        using (var program = _rig.ActionFolder.Open("node.failed")!)
        {
            File.Move(path, path + ".old");
            _rig.Install("any", $"echo another >> {_rig.Output}");
            Assert.Null(await ActionProcess.RunAsync(program, [], _rig.Clock, Cancel));
        }

        Assert.Equal(["the first"], _rig.Done);
    }

    [Theory]
    [InlineData("node.retired", "node.retired")]
    [InlineData("node.failed", "any")]
    [InlineData("../evil", "any")]
    [InlineData("evil", "any")]
    [InlineData("", "any")]
    public async Task A_type_chooses_among_the_names_that_are_known_and_is_never_one(string type, string runs)
    {
        await File.WriteAllTextAsync(Path.Combine(_rig.Folder, "evil"), "#!/bin/sh\n", Cancel);
        _rig.Record("evil");
        _rig.Record("node.retired");
        _rig.Record("any");
        using var program = _rig.ActionFolder.Open(type)!;
        Assert.Null(await ActionProcess.RunAsync(program, "x"u8.ToArray(), _rig.Clock, Cancel));
        Assert.Equal([$"{runs} x"], _rig.Done);
    }

    [Fact]
    public async Task One_that_hangs_is_killed_with_all_that_it_started_and_the_next_notice_comes()
    {
        _rig.Install("any", $"sleep 600 & echo $! >> {_rig.Output}; yes");
        _rig.Record("node.recovered");
        await _rig.StartAtAsync(0);
        var taking = _rig.TakeAsync(1, _rig.Sign(1), _rig.Sign(2, "node.recovered"));
        for (var i = 0; _rig.Done.Length == 0; i++)
        {
            Assert.True(i < 500);
            await Task.Delay(20, Cancel);
        }

        _rig.Clock.Advance(ActionProcess.Timeout);
        await taking;
        Assert.Equal(2, _rig.Inbox.After);
        Assert.Equal($"node.recovered {NoticeRig.Json(2, "node.recovered")}", _rig.Done[1]);
        Assert.False(IsRunning(_rig.Done[0]));
    }

    [Theory]
    [InlineData("exit 0", null)]
    [InlineData("echo no such host >&2; exit 7", "it ended with 7")]
    [InlineData("exec 0<&-; exit 3", "it ended with 3")]
    [InlineData("kill -9 $$", "it ended with 137")]
    [InlineData("head -c 10000000 /dev/zero; exit 1", "it ended with 1")]
    [InlineData("yes | head -n 1; yes | head -n 1 >&2; exit 0", null)] // who writes to nobody is told so by its signal
    [InlineData("test $(wc -c) = 100000", null)]
    [InlineData("sleep 600 & exit 0", null)] // who is left behind keeps nobody waiting
    public async Task How_it_ended_is_known_whatever_it_does_with_its_streams(string script, string? trouble)
    {
        var path = _rig.Install("any", script);
        using var program = _rig.ActionFolder.Open("any")!;
        var start = TimeProvider.System.GetTimestamp();
        var seen = await ActionProcess.RunAsync(program, new byte[100_000], TimeProvider.System, Cancel);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(20), path);
        Assert.Equal(trouble, seen);
    }

    [Fact]
    public async Task What_is_no_program_is_said()
    {
        await File.WriteAllTextAsync(_rig.Record("any"), "no program\n", Cancel);
        using var program = _rig.ActionFolder.Open("any")!;
        Assert.Contains("cannot be started", await ActionProcess.RunAsync(program, [], TimeProvider.System, Cancel), StringComparison.Ordinal);
    }

    private static bool IsRunning(string pid)
    {
        try
        {
            return File.ReadAllText($"/proc/{pid}/stat").Split(") ")[1][0] != 'Z'; // whom nobody has waited for yet is dead all the same
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return false;
        }
    }

    public void Dispose() => _rig.Dispose();
}

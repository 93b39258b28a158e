using Keylime.Demo;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Protocol.Notices;

namespace Keylime.EndToEnd.Tests;

/// <summary>The local action that docs/notices.md shows, as it stands there, with the programs as they are shipped.</summary>
public sealed class NoticeProgramTests
{
    private const int Interval = 2;
    private const string Written = "/var/lib/keylime/revoked";
    private const UnixFileMode Program = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_machine_that_fails_starts_what_was_installed_on_another_one()
    {
        Assert.True(Environment.IsPrivilegedProcess, "Actions have to be root's, so only root can install one.");
        var folder = Directory.CreateTempSubdirectory("notices-").FullName;
        var programs = new Programs(folder, Published.Agent);
        var machines = new List<Machine>();
        try
        {
            var fleet = new Fleet(programs);
            var service = await ServiceProcess.StartAsync(programs, Path.Combine(folder, "service"), Interval, Cancel);
            await service.LoginAsync(fleet, Cancel);

            var key = await fleet.AskAsync(ApiJson.Default.VaultKeyMessage, Cancel, "notice", "key", "--json");
            var home = Directory.CreateDirectory(Path.Combine(folder, "good", "keylime")).FullName;
            await File.WriteAllTextAsync(Path.Combine(home, "notice.pem"), System.Security.Cryptography.PemEncoding.WriteString("PUBLIC KEY", key.PublicKey), Cancel);
            var output = Path.Combine(home, "revoked");
            await InstallAsync(Path.Combine(folder, "actions"), output);

            foreach (var name in (string[])["good", "bad"])
            {
                var machine = await Machine.BootAsync(name, Path.Combine(folder, name), ["/bin/sh", "/bin/ls"], Cancel);
                machines.Add(machine);
                await service.TrustAsync(machine, Cancel);
                machine.StartAgent(programs, service.Url, service.CaPath, name == "good" ? ["notice_key = \"notice.pem\"", $"notice_actions_dir = \"{folder}/actions\""] : []);
                await fleet.EnrolAsync(machine, Cancel);
            }

            await fleet.WaitAsync("both are trusted", TimeSpan.FromSeconds(60), () => fleet.StateOf("good") == NodeState.Trusted && fleet.StateOf("bad") == NodeState.Trusted, Cancel);
            await fleet.WaitAsync("the good one asked for notices", TimeSpan.FromSeconds(30), () => File.Exists(Path.Combine(home, "notices.json")), Cancel);
            var intruder = Path.Combine(folder, "intruder");
            await File.WriteAllTextAsync(intruder, "something that no policy knows", Cancel);
            await machines[1].MeasureFileAsync(intruder, Cancel);
            await fleet.WaitAsync("the bad one fails and the good one hears of it", TimeSpan.FromSeconds(60), () => fleet.StateOf("bad") == NodeState.Failed && File.Exists(output), Cancel);

            await Task.Delay(TimeSpan.FromSeconds(3 * Interval), TimeProvider.System, Cancel); // and once only
            var notice = System.Text.Json.JsonSerializer.Deserialize(Assert.Single(await File.ReadAllLinesAsync(output, Cancel)), NoticeJson.Default.Notice)!;
            Assert.Equal((1, NoticeTypes.Failed, "bad", "ima.not_in_policy"), (notice.Number, notice.Type, notice.Node, notice.Revocation!.EventId));
            Assert.Equal("""{"after":1}""", await File.ReadAllTextAsync(Path.Combine(home, "notices.json"), Cancel));
        }
        finally
        {
            await programs.DisposeAsync();
            foreach (var log in Directory.EnumerateFiles(folder, "*.log"))
                TestContext.Current.TestOutputHelper?.WriteLine($"{Path.GetFileName(log)}: {string.Join('\n', File.ReadLines(log).TakeLast(12))}"); // shown where the test fails
            foreach (var machine in machines)
                await machine.DisposeAsync();
            Directory.Delete(folder, recursive: true);
        }
    }

    private static async Task InstallAsync(string actions, string output)
    {
        var document = await File.ReadAllTextAsync(Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "docs", "notices.md")), Cancel);
        var script = document.Split("<<'END'\n")[1].Split("END\n")[0];
        Assert.Contains(Written, script, StringComparison.Ordinal);
        Directory.CreateDirectory(actions, Program);
        var path = Path.Combine(actions, NoticeTypes.Failed);
        await File.WriteAllTextAsync(path, script.Replace(Written, output, StringComparison.Ordinal), Cancel);
        File.SetUnixFileMode(path, Program);
    }
}

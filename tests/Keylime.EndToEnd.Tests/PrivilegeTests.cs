using System.Diagnostics;
using Keylime.Demo;
using Keylime.Testing;

namespace Keylime.EndToEnd.Tests;

/// <summary>The published agent as a process: what it may still do once it has opened what only root may.</summary>
public sealed class PrivilegeTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_agent_opens_the_list_and_then_is_somebody_who_may_do_less()
    {
        var folder = Directory.CreateTempSubdirectory("drop-").FullName;
        await using (var programs = new Programs(folder, Published.Agent))
        {
            var (list, config) = (Path.Combine(folder, "list"), Path.Combine(folder, "agent.conf"));
            await File.WriteAllTextAsync(list, "10 \n", Cancel);
            File.SetUnixFileMode(list, UnixFileMode.UserRead);
            File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.OtherExecute);
            await File.WriteAllTextAsync(Path.Combine(folder, "ca.pem"), TestCertificates.Root.ExportCertificatePem(), Cancel);
            await File.WriteAllTextAsync(config, $"""
                [agent]
                uuid = "drop"
                verifier_url = "https://127.0.0.1:1"
                verifier_tls_ca_cert = "{folder}/ca.pem"
                keylime_dir = "{folder}"
                ima_ml_path = "{list}"
                tpm = "swtpm:path={folder}/nothing"
                run_as = "nobody:nogroup"
                """, Cancel);
            var agent = programs.Start("Keylime.Agent", "keylime-agent", "drop.log", "run", "--config", config);
            await LogsAsync(folder, "Opened anew"); // it has no TPM, and tries on

            var status = await File.ReadAllTextAsync($"/proc/{agent.Id}/status", Cancel);
            Assert.Contains("NoNewPrivs:\t1\n", status, StringComparison.Ordinal);
            Assert.Contains(list, Directory.EnumerateFiles($"/proc/{agent.Id}/fd").Select(static f => new FileInfo(f).LinkTarget));
            if (Environment.IsPrivilegedProcess)
            {
                // Every thread: a change of one alone would be none.
                foreach (var thread in Directory.EnumerateDirectories($"/proc/{agent.Id}/task"))
                {
                    var lines = await File.ReadAllLinesAsync(Path.Combine(thread, "status"), Cancel);
                    var (uid, gid) = (await IdAsync("-u"), await IdAsync("-g"));
                    Assert.Contains($"Uid:\t{uid}\t{uid}\t{uid}\t{uid}", lines);
                    Assert.Contains($"Gid:\t{gid}\t{gid}\t{gid}\t{gid}", lines);
                    Assert.Contains($"Groups:\t{gid}", lines.Select(static l => l.TrimEnd()));
                    Assert.Contains("CapEff:\t0000000000000000", lines);
                }
            }

            // Whoever does not exist is nobody to become: that is said, and it does not go on as root.
            await File.WriteAllTextAsync(config, (await File.ReadAllTextAsync(config, Cancel)).Replace("nobody:nogroup", "no-such-user:nogroup", StringComparison.Ordinal), Cancel);
            var refused = programs.Run("Keylime.Agent", "keylime-agent", "once", "--config", config);
            var errors = await refused.StandardError.ReadToEndAsync(Cancel);
            await refused.WaitForExitAsync(Cancel);
            if (Environment.IsPrivilegedProcess)
                Assert.Equal((2, true), (refused.ExitCode, errors.Contains("no user 'no-such-user'", StringComparison.Ordinal)));
        }

        Directory.Delete(folder, recursive: true);
    }

    private static async Task LogsAsync(string folder, string text)
    {
        var path = Path.Combine(folder, "drop.log");
        for (var i = 0; !File.Exists(path) || !(await File.ReadAllTextAsync(path, Cancel)).Contains(text, StringComparison.Ordinal); i++)
        {
            Assert.True(i < 600, File.Exists(path) ? await File.ReadAllTextAsync(path, Cancel) : "no log");
            await Task.Delay(50, Cancel);
        }
    }

    private static async Task<string> IdAsync(string which)
    {
        using var id = Process.Start(new ProcessStartInfo("id", [which, "nobody"]) { RedirectStandardOutput = true })!;
        var text = await id.StandardOutput.ReadToEndAsync(Cancel);
        await id.WaitForExitAsync(Cancel);
        return text.Trim();
    }
}

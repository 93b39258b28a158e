using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks;

/// <summary>A policy of many digests, and a measurement list of some of the files that it lists, from all over it.</summary>
internal sealed class MadeList
{
    private MadeList(byte[] policy, byte[] text, byte[][] data) => (Policy, Text, Data) = (policy, text, data);

    /// <summary>The policy's text.</summary>
    public byte[] Policy { get; }

    /// <summary>The list, of template ima-ng.</summary>
    public byte[] Text { get; }

    /// <summary>What each entry's hash is of.</summary>
    public byte[][] Data { get; }

    /// <param name="tpm">PCR 10 is extended with each entry.</param>
    /// <param name="seed">Another one makes other digests.</param>
    public static MadeList Make(SoftwareTpm? tpm, int paths, int entries, int seed = 0)
    {
        using var text = new MemoryStream();
        using var policy = new MemoryStream();
        policy.Write("""{"meta":{"version":1},"excludes":["/tmp/.*","/var/log/.*"],"ima":{"log_hash_alg":"sha1"},"digests":{"""u8);
        var data = new byte[entries][];
        Span<byte> templateHash = stackalloc byte[20];
        for (var i = 0; i < paths; i++)
        {
            var path = string.Create(CultureInfo.InvariantCulture, $"/usr/lib/x86_64-linux-gnu/package-{i % Math.Max(700, paths / 100)}/libexample-{i}.so");
            var digest = SHA256.HashData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{(seed == 0 ? "" : seed)}{path}")));
            policy.Write(Encoding.ASCII.GetBytes($"{(i == 0 ? "" : ",")}\"{path}\":[\"{Convert.ToHexStringLower(digest)}\"]"));

            // Of a larger policy the list has as many entries, from all over it.
            if (entries == 0 || i % (paths / entries) != 0 || i / (paths / entries) is var at && at >= entries)
                continue;
            data[at] = ImaEmulator.TemplateData(digest, Encoding.ASCII.GetBytes(path));
            Sha1(data[at], templateHash);
            text.Write(Encoding.ASCII.GetBytes($"10 {Convert.ToHexStringLower(templateHash)} ima-ng sha256:{Convert.ToHexStringLower(digest)} {path}\n"));
            tpm?.Extend(TpmAlgorithm.Sha256, 10, SHA256.HashData(data[at]));
        }

        policy.Write("}}"u8);
        return new MadeList(policy.ToArray(), text.ToArray(), data);
    }

    [System.Diagnostics.CodeAnalysis.SuppressMessage("Security", "CA5350:Do Not Use Weak Cryptographic Algorithms", Justification = "IMA's own template hash.")]
    public static void Sha1(byte[] data, Span<byte> hash) => SHA1.HashData(data, hash);
}

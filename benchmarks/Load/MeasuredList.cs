using System.Security.Cryptography;
using System.Text;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Load;

/// <summary>
/// The measurement list that all machines of a fleet have, line for line, and the policy that allows it. Some lines are a machine's own, so that no two machines send the same bytes.
/// </summary>
internal sealed class MeasuredList
{
    public const string PolicyName = "fleet";

    private const int Pcr = 10;
    private const string Own = "/run/fleet/";

    private readonly byte[] _text;
    private readonly int[] _starts; // of each line in the text, and the end
    private readonly byte[][] _digests; // of the template data, with the hash of the bank
    private readonly Lock _lock = new();
    private readonly List<byte[]> _values = [new byte[SHA256.HashSizeInBytes]]; // PCR 10 after so many lines

    /// <param name="files">How many files the policy allows; the list has them in turn, again and again.</param>
    public MeasuredList(int files)
    {
        var (text, policy) = (new MemoryStream(), new StringBuilder("""{"meta":{"version":1},"release":0,"excludes":["/run/fleet/.*"],"keyrings":{},"ima":{"ignored_keyrings":[],"log_hash_alg":"sha1"},"ima-buf":{},"verification-keys":"","digests":{"""));
        (_starts, _digests) = (new int[files + 2], new byte[files + 1][]);
        for (var i = 0; i <= files; i++)
        {
            var (path, digest) = i == 0
                ? ("boot_aggregate", SHA256.HashData(new byte[10 * SHA256.HashSizeInBytes])) // of a boot that measured nothing
                : ($"/usr/lib/x86_64-linux-gnu/package-{i % 700}/libexample-{i}.so", SHA256.HashData(BitConverter.GetBytes(i)));
            var (line, template) = Line(path, digest);
            (_starts[i], _digests[i]) = ((int)text.Position, template);
            text.Write(line);
            policy.Append(i == 0 ? "" : ",").Append('"').Append(path).Append("\":[\"").Append(Convert.ToHexStringLower(digest)).Append("\"]");
        }

        _text = text.ToArray();
        _starts[^1] = _text.Length;
        Policy = Encoding.ASCII.GetBytes(policy.Append("}}").ToString());
    }

    /// <summary>A runtime policy, as JSON.</summary>
    public byte[] Policy { get; }

    /// <summary>PCR 10 after the first so many lines, of which none is a machine's own.</summary>
    public byte[] ValueAfter(long lines)
    {
        lock (_lock)
        {
            while (_values.Count <= lines)
                _values.Add(SHA256.HashData([.. _values[^1], .. _digests[Place(_values.Count - 1)]]));
            return _values[(int)lines];
        }
    }

    /// <summary>Extends a TPM's PCR 10 with a line.</summary>
    /// <param name="own">Whose own line it is; <see langword="null"/> for one that all have.</param>
    public void Extend(SoftwareTpm tpm, long line, string? own) =>
        tpm.Extend(TpmAlgorithm.Sha256, Pcr, own is null ? _digests[Place(line)] : OwnLine(own, line).Template);

    /// <summary>The text of lines in a row that all machines have, escaped for JSON, in as few pieces as there are.</summary>
    public IEnumerable<ReadOnlyMemory<byte>> Text(long from, long to)
    {
        while (from < to)
        {
            var first = Place(from);
            var count = Math.Min(to - from, _digests.Length - first);
            yield return _text.AsMemory(_starts[first].._starts[first + count]);
            from += count;
        }
    }

    public static ReadOnlyMemory<byte> OwnText(string own, long line) => OwnLine(own, line).Text;

    private int Place(long line) => line == 0 ? 0 : 1 + (int)((line - 1) % (_digests.Length - 1));

    private static (byte[] Text, byte[] Template) OwnLine(string own, long line) =>
        Line($"{Own}{own}/{line}", SHA256.HashData(Encoding.ASCII.GetBytes($"{own} {line}")));

    // The line feed as JSON writes it in a string; nothing else in a line would be escaped.
    private static (byte[] Text, byte[] Template) Line(string path, byte[] digest)
    {
        var data = ImaEmulator.TemplateData(digest, Encoding.ASCII.GetBytes(path));
        return (Encoding.ASCII.GetBytes($"{Pcr} {Convert.ToHexStringLower(Sha1(data))} ima-ng sha256:{Convert.ToHexStringLower(digest)} {path}\\n"), SHA256.HashData(data));
    }

    [System.Diagnostics.CodeAnalysis.SuppressMessage("Security", "CA5350:Do Not Use Weak Cryptographic Algorithms", Justification = "IMA's own template hash.")]
    private static byte[] Sha1(byte[] data) => SHA1.HashData(data);
}

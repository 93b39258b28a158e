using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>Allowed values of PCRs: Keylime's <c>tpm_policy</c>.</summary>
public sealed class PcrPolicy
{
    private const int MaxPcr = 23;

    private readonly SortedDictionary<int, List<byte[]>> _allowed;

    private PcrPolicy(SortedDictionary<int, List<byte[]>> allowed)
    {
        _allowed = allowed;
        Pcrs = PcrSet.Of([.. allowed.Keys]);
    }

    /// <summary>The PCRs that a quote has to cover.</summary>
    public PcrSet Pcrs { get; }

    /// <param name="values">PCR index to values in hex, of any bank: those of another size than the quoted bank's are passed over.</param>
    public static bool TryCreate(
        IReadOnlyDictionary<string, IReadOnlyList<string>> values,
        [NotNullWhen(true)] out PcrPolicy? policy,
        [NotNullWhen(false)] out string? error)
    {
        ArgumentNullException.ThrowIfNull(values);
        policy = null;
        var allowed = new SortedDictionary<int, List<byte[]>>();
        foreach (var (name, list) in values)
        {
            if (!int.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out var pcr) || pcr > MaxPcr || !allowed.TryAdd(pcr, []))
            {
                error = $"PCR '{name}': an index from 0 to {MaxPcr} is expected, once.";
                return false;
            }

            if (list.Count == 0)
            {
                error = $"PCR {pcr}: it lists no value, and a PCR that may have any value need not be listed.";
                return false;
            }

            foreach (var value in list)
            {
                if (!TryReadValue(value, out var bytes))
                {
                    error = $"PCR {pcr}: a value in hex of 40, 64, 96 or 128 digits is expected.";
                    return false;
                }

                allowed[pcr].Add(bytes);
            }
        }

        if (allowed.Count == 0)
        {
            error = "No PCR is listed.";
            return false;
        }

        (policy, error) = (new PcrPolicy(allowed), null);
        return true;
    }

    /// <summary>Every PCR whose quoted value is not among the allowed ones.</summary>
    public IEnumerable<Finding> Appraise(VerifiedPcrs pcrs)
    {
        ArgumentNullException.ThrowIfNull(pcrs);
        foreach (var (pcr, values) in _allowed)
        {
            if (!pcrs.Covered.Contains(pcr))
                yield return new Finding(PcrNotQuoted, $"PCR {pcr} has allowed values, and was not quoted.");
            else if (!values.Any(v => v.AsSpan().SequenceEqual(pcrs[pcr].Span)))
                yield return new Finding(PcrValueNotAllowed, $"PCR {pcr} of {pcrs.Bank.ProtocolName()} is {Convert.ToHexStringLower(pcrs[pcr].Span)}; allowed are {Describe(values, pcrs.Bank.DigestSize())}.");
        }
    }

    private static string Describe(List<byte[]> values, int size)
    {
        var text = new StringBuilder();
        foreach (var value in values.Where(v => v.Length == size))
            text.Append(text.Length == 0 ? "" : ", ").Append(Convert.ToHexStringLower(value));
        return text.Length == 0 ? "values of other banks only" : text.ToString();
    }

    private static bool TryReadValue(string text, out byte[] value)
    {
        var hex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text.AsSpan(2) : text;
        value = new byte[hex.Length / 2];
        return hex.Length is 40 or 64 or 96 or 128
            && Convert.FromHexString(hex, value, out _, out _) == System.Buffers.OperationStatus.Done;
    }
}

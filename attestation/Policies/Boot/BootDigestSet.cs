using System.Buffers;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Digests that a boot policy allows, of any bank. Only those of the quoted bank can be proven, so only those are looked at.</summary>
internal sealed class BootDigestSet
{
    public static readonly TpmAlgorithm[] Banks = [TpmAlgorithm.Sha1, TpmAlgorithm.Sha256, TpmAlgorithm.Sha384, TpmAlgorithm.Sha512];
    private static readonly SearchValues<char> LowerHex = SearchValues.Create("0123456789abcdef");

    private readonly Dictionary<TpmAlgorithm, HashSet<string>> _digests = [];
    private readonly Dictionary<string, string> _remarks = [];

    public bool IsEmpty => _digests.Count == 0;

    /// <summary>As <c>sha256:hex</c>, with the remark where there is one.</summary>
    public IReadOnlyCollection<string> Texts =>
        [.. Entries.Select(text => _remarks.TryGetValue(text, out var remark) ? $"{text} {remark}" : text)];

    /// <summary>As <c>sha256:hex</c>, without remarks.</summary>
    public IEnumerable<string> Entries => _digests.SelectMany(static d => d.Value.Select(hex => Text(d.Key, hex)));

    public bool Has(TpmAlgorithm bank) => _digests.ContainsKey(bank);

    public bool Allows(TpmAlgorithm bank, ReadOnlyMemory<byte> digest) =>
        _digests.TryGetValue(bank, out var known) && known.Contains(Convert.ToHexStringLower(digest.Span));

    public void Add(TpmAlgorithm bank, string hex)
    {
        if (!_digests.TryGetValue(bank, out var known))
            _digests[bank] = known = new HashSet<string>(StringComparer.Ordinal);
        known.Add(hex);
    }

    /// <summary>What was expected, in the words of a finding.</summary>
    public string Describe(TpmAlgorithm bank)
    {
        const int shown = 3;
        if (!_digests.TryGetValue(bank, out var known))
            return _digests.Count == 0 ? "nothing" : $"a digest of {string.Join(" or ", _digests.Keys.Select(static b => b.ProtocolName()))}, and the quote is of {bank.ProtocolName()}";
        var some = string.Join(" or ", known.Take(shown).Select(hex => Text(bank, hex)));
        return known.Count > shown ? $"{some} or {known.Count - shown} others" : some;
    }

    public static string Text(TpmAlgorithm bank, ReadOnlyMemory<byte> digest) => Text(bank, Convert.ToHexStringLower(digest.Span));

    /// <summary>Items <c>sha256:hex</c>, each with a remark behind it, if it likes.</summary>
    public static BootDigestSet Read(BootJson json)
    {
        var set = new BootDigestSet();
        foreach (var item in json.SomeItems())
        {
            var (entry, remark) = SplitRemark(item);
            if (!TryParse(entry, out var bank, out var hex))
                throw Expected(item);
            set.Add(bank, hex);
            if (remark.Length > 0)
                set._remarks[entry] = remark;
        }

        return set;
    }

    public static (string Entry, string Remark) SplitRemark(BootJson item)
    {
        var text = item.Words();
        var space = text.IndexOf(' ', StringComparison.Ordinal);
        return space < 0 ? (text, "") : (text[..space], text[(space + 1)..].Trim());
    }

    /// <summary>A digest as <c>sha256:hex</c>.</summary>
    public static bool TryParse(string text, out TpmAlgorithm bank, out string hex)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        (bank, hex) = (default, colon < 0 ? "" : text[(colon + 1)..]);
        return colon >= 0 && TryBank(text[..colon], out bank) && IsHex(hex, bank.DigestSize());
    }

    public static JsonException Expected(BootJson json) =>
        new($"{json.Path}: a digest is expected as sha256: and 64 lower-case hex digits (or sha1, sha384, sha512); a remark may follow a space.");

    public static bool TryBank(string name, out TpmAlgorithm bank)
    {
        bank = Array.Find(Banks, b => b.ProtocolName() == name);
        return bank != default;
    }

    public static bool IsHex(string text, int bytes) => text.Length == 2 * bytes && !text.AsSpan().ContainsAnyExcept(LowerHex);

    private static string Text(TpmAlgorithm bank, string hex) => $"{bank.ProtocolName()}:{hex}";
}

using System.Security.Cryptography;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>
/// The cases of upstream's own tests of measurement lists (test/test_ima_verification.py and test_ima_ast.py), with lists and keys of our own:
/// the outcome is upstream's, or docs/differences.md has a row for it.
/// </summary>
public sealed class UpstreamImaTests : IDisposable
{
    private readonly SoftwareTpm _tpm = new(TpmAlgorithm.Ecdsa);
    private readonly FileSigner _first = new();
    private readonly FileSigner _second = new();

    public void Dispose()
    {
        _tpm.Dispose();
        _first.Dispose();
        _second.Dispose();
    }

    public static TheoryData<string, string, string, bool> Cases => new()
    {
        // name, list, policy, accepted
        { "a list that the policy names", "measurements", "right", true },
        { "a list of which the policy names nothing", "measurements", "other", false },
        { "no key at all", "signatures", "other", false },
        { "the first file's key only, the first file", "signature1", "other+key1", true },
        { "the first file's key only, the second file", "signature2", "other+key1", false },
        { "both keys", "signatures", "other+key1+key2", true },
        { "both kinds of entries, no key, all listed", "combined", "right", true },
        { "both kinds of entries, keys, the unsigned ones not listed", "combined", "other+key1+key2", false },
        { "both kinds of entries, keys and list", "combined", "right+key1+key2", true },
        { "signed, and the digests listed are wrong", "signatures", "wrong+key1+key2", true },
        { "signed, and not listed", "signatures", "other+key1+key2", true },
        { "signatures that no key verifies, and the digests listed are right", "signatures", "right", true },
        { "unsigned, and the digests listed are right", "measurements", "right+key1+key2", true },
        { "excluded, and the digests listed are wrong", "measurements", "wrong+excludes", true },
        { "excluded and signed", "signatures", "right+excludes+key1+key2", true },
        { "excluded, the digests listed are wrong, with keys", "measurements", "wrong+excludes+key1+key2", true },
        { "a signature that was changed in the list, excluded", "tampered", "right+excludes", false },
        { "a signature that was changed in the list, listed", "tampered", "right", false },
        { "a key that the policy lists is loaded", "keyring", "right", true },
        { "a key that the policy does not list is loaded", "keyring", "wrong", false },
        { "an entry of the device mapper without a policy for it", "device", "right", false },
        { "a template that there is not", "template", "right", false },
        { "no list of measurements", "text", "right", false },
    };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Case(string name, string list, string policy, bool accepted)
    {
        var entries = Make(list);
        var text = list == "tampered" ? Tamper(entries.Text) : entries.Text;
        var result = Lists.Appraise(entries.QuoteAfter(_tpm, entries.Lines.Count), text, null, PolicyOf(policy));
        Assert.True(accepted == (result is { FindingCount: 0, Proven: not null }), $"{name}: {result.Codes()}");
    }

    /// <summary>Line by line, each time from where the last ended, and once more with nothing new.</summary>
    [Fact]
    public void Iterative_attestation()
    {
        var list = Make("measurements");
        ImaCheckpoint? last = null;
        for (var lines = 1; lines <= list.Lines.Count; lines++)
        {
            var result = Lists.Appraise(list.QuoteAfter(_tpm, lines), list.Lines[lines - 1], last, PolicyOf("right"));
            Assert.Equal(("", lines), (result.Codes(), result.Proven!.Entries));
            last = result.Proven;
        }

        Assert.Equal("", Lists.Appraise(list.QuoteAfter(_tpm, list.Lines.Count), default, last, PolicyOf("right")).Codes());
    }

    private List Make(string list) => list switch
    {
        "measurements" => new List().AddSigned("boot_aggregate", []).AddSigned("/lib/a.ko", []).AddSigned("/lib/b.ko", []),
        "signatures" => new List().AddSigned("/usr/bin/dd", _first.Sign("/usr/bin/dd")).AddSigned("/usr/bin/zmore", _second.Sign("/usr/bin/zmore")),
        "signature1" => new List().AddSigned("/usr/bin/dd", _first.Sign("/usr/bin/dd")),
        "signature2" or "tampered" => new List().AddSigned("/usr/bin/zmore", _second.Sign("/usr/bin/zmore")),
        "combined" => Make("measurements").AddSigned("/usr/bin/dd", _first.Sign("/usr/bin/dd")).AddSigned("/usr/bin/zmore", _second.Sign("/usr/bin/zmore")),
        "keyring" => new List().AddBuffer(".ima", _first.Spki),
        "device" => new List().AddBuffer("device_resume", "name=TEST;uuid=CRYPT-VERITY-1-TEST;"u8.ToArray()),
        "template" => new List().Add("not-ima", ("d-ng", $"sha256:{List.HexOf("/usr/bin/dd")}"), ("n-ng", "/usr/bin/dd")),
        _ => new List().Add("this is text and no entry", ("n-ng", "x")),
    };

    // As upstream's: the size in the signature's header is another one.
    private static byte[] Tamper(byte[] text)
    {
        var at = text.AsSpan().LastIndexOf((byte)' ') + 1 + 2 * 7;
        text[at] = (byte)'8';
        return text;
    }

    private RuntimePolicy PolicyOf(string parts)
    {
        string[] files = ["boot_aggregate", "/lib/a.ko", "/lib/b.ko", "/usr/bin/dd", "/usr/bin/zmore"];
        var document = new RuntimePolicyDocument();
        var keys = Keyring.Empty;
        foreach (var part in parts.Split('+'))
        {
            switch (part)
            {
                case "right" or "wrong":
                    foreach (var file in files)
                        document.Allow(file, List.HexOf(part == "right" ? file : "another file"));
                    document.AllowKey(".ima", Convert.ToHexStringLower(SHA256.HashData(part == "right" ? _first.Spki : [])));
                    break;
                case "other":
                    document.Allow("/another", List.HexOf("/another"));
                    break;
                case "excludes":
                    foreach (var file in files)
                        document.Excludes.Add(file);
                    break;
                default:
                    keys = keys.Add(part == "key1" ? _first.Key : _second.Key);
                    break;
            }
        }

        document.VerificationKeys = keys.Keys.IsEmpty ? "" : keys.ToPolicy();
        return Policies.Parse(document.Write());
    }
}

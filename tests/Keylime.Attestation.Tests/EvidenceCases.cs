using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Every folder under <c>tests/evidence/cases</c> gets the verdict that it says it deserves.</summary>
public sealed class EvidenceCases
{
    private static readonly string Root = Path.Combine(AppContext.BaseDirectory, "evidence", "cases");

    public static TheoryData<string> Folders => [.. Directory.EnumerateDirectories(Root).Select(d => Path.GetFileName(d)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Folders))]
    public void Case(string name)
    {
        var change = Read(name);
        var origin = change["base"]?.GetValue<string>() ?? name;
        var asked = Read(origin);
        var files = ((string[])["ak.pub", "message", "signature", "pcrs", "list", "policy.json"]).ToDictionary(f => f, f => File.ReadAllBytes(Path.Combine(Root, origin, f)));
        foreach (var (what, value) in change)
            Apply(what, value!, files);

        Assert.True(AttestationKey.TryCreate(PublicArea.Parse(files["ak.pub"]), out var key, out var refusal), refusal?.Detail);
        using (key)
        {
            Assert.True(RuntimePolicy.TryParse(files["policy.json"], out var policy, out var error), error);
            JsonNode Asked(string member) => (change[member] ?? asked[member])!;
            Assert.True(TpmAlgorithms.TryFromProtocolName(Asked("bank").GetValue<string>(), out var bank));
            var selection = new PcrSelection(bank, PcrSet.Of([.. Asked("pcrs").AsArray().Select(p => p!.GetValue<int>())]));
            var request = new AppraisalRequest
            {
                Key = key,
                Quote = new QuoteRequest(Convert.FromHexString(Asked("nonce").GetValue<string>()), selection, key.Scheme),
                Identity = IdentityLevel.EndorsementKey,
                Runtime = policy,
                At = new DateTimeOffset(2026, 11, 24, 12, 0, 0, TimeSpan.Zero),
            };
            var verdict = Appraisal.Appraise(request, new Attestation.Evidence(new QuoteEvidence(files["message"], files["signature"], files["pcrs"]), files["list"]));

            Assert.Equal(change["expect"]!.GetValue<string>(), verdict.Pass ? "pass" : verdict.Findings[0].Code);
        }
    }

    private static void Apply(string what, JsonNode value, Dictionary<string, byte[]> files)
    {
        switch (what)
        {
            case "flip" when Parse(value) is var (file, at, _):
                files[file][at] ^= 1;
                break;
            case "set" when Parse(value) is var (file, at, set):
                files[file][at] = Convert.FromHexString(set)[0];
                break;
            case "cut" when Parse(value) is var (file, at, _):
                files[file] = files[file][..at];
                break;
            case "dropLine":
                Lines(files, lines => lines.RemoveAt(value.GetValue<int>()));
                break;
            case "repeatLine":
                Lines(files, lines => lines.Insert(value.GetValue<int>(), lines[value.GetValue<int>()]));
                break;
            case "swapLines":
                var (first, second) = (value[0]!.GetValue<int>(), value[1]!.GetValue<int>());
                Lines(files, lines => (lines[first], lines[second]) = (lines[second], lines[first]));
                break;
            case "replace":
                Replace(files, "list", value);
                break;
            case "replacePolicy":
                Replace(files, "policy.json", value);
                break;
            case "base" or "expect" or "nonce" or "bank" or "pcrs":
                break;
            default:
                Assert.Fail($"case.json: '{what}' is no change that this knows.");
                break;
        }
    }

    private static (string File, int At, string Set) Parse(JsonNode value)
    {
        var parts = value.GetValue<string>().Split(':', '=');
        return (parts[0], int.Parse(parts[1], CultureInfo.InvariantCulture), parts.Length > 2 ? parts[2] : "");
    }

    private static void Lines(Dictionary<string, byte[]> files, Action<List<string>> change)
    {
        var lines = Encoding.UTF8.GetString(files["list"]).Split('\n', StringSplitOptions.RemoveEmptyEntries).ToList();
        change(lines);
        files["list"] = Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n");
    }

    private static void Replace(Dictionary<string, byte[]> files, string file, JsonNode value)
    {
        var text = Encoding.UTF8.GetString(files[file]);
        Assert.Contains(value[0]!.GetValue<string>(), text, StringComparison.Ordinal);
        files[file] = Encoding.UTF8.GetBytes(text.Replace(value[0]!.GetValue<string>(), value[1]!.GetValue<string>(), StringComparison.Ordinal));
    }

    private static JsonObject Read(string name) => JsonNode.Parse(File.ReadAllText(Path.Combine(Root, name, "case.json")))!.AsObject();
}

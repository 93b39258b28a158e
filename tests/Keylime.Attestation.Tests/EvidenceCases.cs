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
        var files = Directory.EnumerateFiles(Path.Combine(Root, origin)).ToDictionary(f => Path.GetFileName(f), File.ReadAllBytes);
        if (asked["judge"] is { } judge)
        {
            foreach (var policy in Directory.EnumerateFiles(Path.Combine(Root, judge.GetValue<string>()), "*.json"))
                files[Path.GetFileName(policy)] = File.ReadAllBytes(policy);
        }
        foreach (var (what, value) in change)
            Apply(what, value!, files);

        Assert.True(AttestationKey.TryCreate(PublicArea.Parse(files["ak.pub"]), out var key, out var refusal), refusal?.Detail);
        using (key)
        {
            Assert.True(RuntimePolicy.TryParse(files["policy.json"], out var runtime, out var error), error);
            BootPolicy? boot = null;
            if (files.TryGetValue("boot.json", out var rules))
                Assert.True(BootPolicy.TryParse(rules, out boot, out error), error);
            JsonNode Asked(string member) => (change[member] ?? asked[member])!;
            Assert.True(TpmAlgorithms.TryFromProtocolName(Asked("bank").GetValue<string>(), out var bank));
            var selection = new PcrSelection(bank, PcrSet.Of([.. Asked("pcrs").AsArray().Select(p => p!.GetValue<int>())]));
            var request = new AppraisalRequest
            {
                Key = key,
                Quote = new QuoteRequest(Convert.FromHexString(Asked("nonce").GetValue<string>()), selection, key.Scheme),
                Identity = IdentityLevel.EndorsementKey,
                Boot = boot,
                Runtime = runtime,
                At = new DateTimeOffset(2026, 11, 24, 12, 0, 0, TimeSpan.Zero),
            };
            var list = change["list"]?.GetValue<string>() ?? "list";
            var evidence = new Attestation.Evidence(new QuoteEvidence(files["message"], files["signature"], files["pcrs"]), files[list])
            {
                BootLog = files.TryGetValue("bootlog", out var log) && log.Length > 0 ? log : (ReadOnlyMemory<byte>?)null,
                ImaFormat = list == "list" ? ImaListFormat.Text : ImaListFormat.Binary,
            };
            var verdict = Appraisal.Appraise(request, evidence);

            Assert.True(
                change["expect"]!.GetValue<string>() == (verdict.Pass ? "pass" : verdict.Findings[0].Code),
                $"{change["expect"]} was expected; got {(verdict.Pass ? "pass" : string.Join("; ", verdict.Findings.Select(f => $"{f.Code}: {f.Detail}")))}");

            // and by the policy's compiled form the very same
            var again = Appraisal.Appraise(request with { Runtime = CompiledPolicyTests.Reopen(runtime) }, evidence);
            Assert.Equal((verdict.Pass, verdict.FindingCount, verdict.Ima?.Tally), (again.Pass, again.FindingCount, again.Ima?.Tally));
            Assert.Equal(CompiledPolicyTests.Describe(verdict.Findings), CompiledPolicyTests.Describe(again.Findings));
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
            case "replaceBoot":
                Replace(files, "boot.json", value);
                break;
            case "replaceBytes":
                ReplaceBytes(files, "bootlog", value);
                break;
            case "base" or "expect" or "names" or "judge" or "list" or "nonce" or "bank" or "pcrs":
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

    // As long as what it replaces, so that the log stays a log.
    private static void ReplaceBytes(Dictionary<string, byte[]> files, string file, JsonNode value)
    {
        var (old, @new) = (Encoding.Latin1.GetBytes(value[0]!.GetValue<string>()), Encoding.Latin1.GetBytes(value[1]!.GetValue<string>()));
        Assert.Equal(old.Length, @new.Length);
        var at = files[file].AsSpan().IndexOf(old);
        Assert.True(at >= 0, $"'{value[0]}' is not in {file}");
        @new.CopyTo(files[file], at);
    }

    private static JsonObject Read(string name) => JsonNode.Parse(File.ReadAllText(Path.Combine(Root, name, "case.json")))!.AsObject();
}

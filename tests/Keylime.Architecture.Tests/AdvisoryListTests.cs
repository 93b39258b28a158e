namespace Keylime.Architecture.Tests;

/// <summary>Bugs that peers shipped: each has a test that carries its number in its name, or a line in the threat model that says why it does not apply.</summary>
public sealed class AdvisoryListTests
{
    private static readonly string[] Advisories =
    [
        "CVE-2021-3406", "GHSA-78f8-6c68-375m", "CVE-2022-1053", "GHSA-jf66-3q76-h5p5", "CVE-2023-38201", "GHSA-f4r5-q63f-gcww", "CVE-2025-13609", "GHSA-xh5w-g8gq-r3v9",
        "CVE-2026-1709", "GHSA-4jqp-9qjv-57m2", "Keylime 95dff5ea", "Keylime 2a14b452", "CVE-2026-6420", "GHSA-q8w6-w55c-ccv5", "CVE-2023-3674", "CVE-2022-3500", "GHSA-hff2-x2j9-gxgv",
        "CVE-2021-43310", "CVE-2022-23948", "CVE-2022-23949", "GHSA-87gh-qc28-j9mm", "CVE-2022-23950", "CVE-2022-23951", "GHSA-6xx7-m45w-76m2", "CVE-2022-23952", "GHSA-fchm-5w2v-qfm8",
        "CVE-2023-38200", "GHSA-pg75-v6fp-8q59", "CVE-2025-1057", "GHSA-9jxq-5x44-gx23", "Keylime a46902fc", "Keylime d0634a51", "SUSE audit 2022", "CVE-2022-0317", "GHSA-99cg-575x-774p",
        "GHSA-9r4w-jg96-92mv", "go-attestation event-log-disclosure", "go-tpm-tools 506", "CVE-2020-8918", "GHSA-r2h5-3hgw-8j34", "GHSA-6w5f-5wgr-qjg5", "CVE-2025-58356",
        "GHSA-w7wm-2425-7p2h", "GHSA-vqv5-385r-2hf8", "GHSA-h5f8-crrq-4pw8", "GHSA-3ccm-4qq2-5wrp", "SPIRE 1.14.7", "SPIRE 1.14.6", "CVE-2021-27098", "CVE-2021-27099",
        "CVE-2023-30551", "CVE-2023-33199", "CVE-2026-24117", "CVE-2025-66564", "CVE-2026-39984", "CVE-2026-49835", "CVE-2024-45395", "CVE-2026-49834", "CVE-2026-24122", "Trustee samples",
    ];

    [Fact]
    public void Every_advisory_has_a_test_or_a_reason()
    {
        var tests = string.Join('\n', Checkout.Files("*.cs").Where(f => Path.GetRelativePath(Checkout.Root, f).StartsWith("tests/", StringComparison.Ordinal) && !f.EndsWith("AdvisoryListTests.cs", StringComparison.Ordinal))
            .SelectMany(File.ReadLines).Where(line => line.Contains("public ", StringComparison.Ordinal) && line.Contains('(', StringComparison.Ordinal)));
        var reasons = File.ReadAllText(Path.Combine(Checkout.Root, "docs", "threat-model.md"));
        var (tested, explained) = (0, 0);
        foreach (var advisory in Advisories)
        {
            var name = advisory.Replace('-', '_').Replace(' ', '_').Replace('.', '_');
            if (tests.Contains(name, StringComparison.Ordinal) || (advisory.StartsWith("Keylime ", StringComparison.Ordinal) && tests.Contains("_" + advisory[8..] + "_", StringComparison.Ordinal)))
                tested++;
            else if (reasons.Contains(advisory, StringComparison.Ordinal))
                explained++;
            else
                Assert.Fail($"{advisory} has neither a test with {name} in its name nor a line in docs/threat-model.md.");
        }

        var told = $"advisories: {Advisories.Length}, {tested} with a test, {explained} with a reason why they do not apply (yet)";
        TestContext.Current.SendDiagnosticMessage(told);
        TestContext.Current.TestOutputHelper?.WriteLine(told);
        Assert.True(tested > explained * 2, told);
    }
}

using System.Text.RegularExpressions;

namespace Keylime.Architecture.Tests;

/// <summary>Bugs that peers shipped: each has a test that carries its number in its name, or a line in the threat model that says why it does not apply.</summary>
public sealed partial class AdvisoryListTests
{
    // A line is one bug, by all the numbers that it has.
    private static readonly string[][] Bugs =
    [
        ["CVE-2021-3406", "GHSA-78f8-6c68-375m"],
        ["CVE-2022-1053", "GHSA-jf66-3q76-h5p5"],
        ["CVE-2023-38201", "GHSA-f4r5-q63f-gcww"],
        ["CVE-2025-13609", "GHSA-xh5w-g8gq-r3v9"],
        ["CVE-2026-1709", "GHSA-4jqp-9qjv-57m2"],
        ["Keylime 95dff5ea"],
        ["Keylime 2a14b452"],
        ["CVE-2026-6420", "GHSA-q8w6-w55c-ccv5"],
        ["CVE-2023-3674"],
        ["CVE-2022-3500", "GHSA-hff2-x2j9-gxgv"],
        ["CVE-2021-43310", "GHSA-2m39-75g9-ff5r"],
        ["CVE-2022-23948", "GHSA-wj36-qcfg-5j52"],
        ["CVE-2022-23949", "GHSA-87gh-qc28-j9mm"],
        ["CVE-2022-23950", "GHSA-9r9r-f8xc-m875"],
        ["CVE-2022-23951", "GHSA-6xx7-m45w-76m2"],
        ["CVE-2022-23952", "GHSA-fchm-5w2v-qfm8"],
        ["CVE-2023-38200", "GHSA-pg75-v6fp-8q59"],
        ["CVE-2025-1057", "GHSA-9jxq-5x44-gx23"],
        ["Keylime a46902fc"],
        ["Keylime d0634a51"],
        ["SUSE audit 2022"],
        ["CVE-2022-0317", "GHSA-99cg-575x-774p"],
        ["GHSA-9r4w-jg96-92mv", "GO-2026-5298"],
        ["go-attestation event-log-disclosure"],
        ["go-tpm-tools 506"],
        ["CVE-2020-8918"],
        ["GHSA-r2h5-3hgw-8j34"],
        ["GHSA-6w5f-5wgr-qjg5"],
        ["CVE-2025-58356"],
        ["GHSA-w7wm-2425-7p2h"],
        ["GHSA-vqv5-385r-2hf8"],
        ["GHSA-h5f8-crrq-4pw8"],
        ["GHSA-3ccm-4qq2-5wrp"],
        ["SPIRE 1.14.7"],
        ["SPIRE 1.14.6"],
        ["CVE-2021-27098"],
        ["CVE-2021-27099"],
        ["CVE-2023-30551"],
        ["CVE-2023-33199"],
        ["CVE-2026-24117"],
        ["CVE-2025-66564"],
        ["CVE-2026-39984"],
        ["CVE-2026-49835"],
        ["CVE-2024-45395"],
        ["CVE-2026-49834"],
        ["CVE-2026-24122"],
        ["Trustee samples"],
    ];

    // What machines do without any attacker, and an attacker can do too: the test that has it.
    private static readonly string[] Behaviours =
    [
        "What_excludes_or_tolerates_everything_is_told", // a pattern that excludes everything
        "A_kernel_that_was_started_by_another_without_a_reset_passes_with_the_whole_list_only", // kexec
        "Suspend_resume_and_reboot_pass_and_an_old_state_does_not",
        "Lines_that_are_behind_PCR_10_do_not_pass_and_lines_ahead_of_it_wait",
        "A_list_that_is_shorter_than_it_was_does_not_pass",
        "A_machine_that_is_set_back_to_a_snapshot_does_not_pass",
        "One_TPM_under_two_ids_is_refused_and_told_of_both",
        "Two_hundred_nodes_behind_one_address_all_get_through",
    ];

    private static readonly string[] Tests =
    [
        .. Checkout.Files("*.cs").Where(static f => Path.GetRelativePath(Checkout.Root, f).StartsWith("tests/", StringComparison.Ordinal))
            .SelectMany(static f => TestMethod().Matches(File.ReadAllText(f)).Select(static m => m.Groups["name"].Value)),
    ];

    [Fact]
    public void Every_advisory_has_a_test_or_a_reason()
    {
        var reasons = File.ReadAllText(Path.Combine(Checkout.Root, "docs", "threat-model.md"));
        var (tested, explained) = (0, 0);
        foreach (var numbers in Bugs)
        {
            var named = numbers.Count(n => Tests.Any(t => t.Contains(NameOf(n), StringComparison.Ordinal)));
            if (named > 0)
            {
                Assert.True(named == numbers.Length, $"The test of {string.Join(", ", numbers)} carries {named} of these numbers.");
                tested++;
            }
            else
            {
                Assert.All(numbers, n => Assert.True(reasons.Contains(n, StringComparison.Ordinal), $"{n} has neither a test with {NameOf(n)} in its name nor a line in docs/threat-model.md."));
                explained++;
            }
        }

        var told = $"advisories: {Bugs.Length} bugs of peers, {tested} with a test, {explained} with a reason why they do not apply (yet)";
        TestContext.Current.SendDiagnosticMessage(told);
        TestContext.Current.TestOutputHelper?.WriteLine(told);
        Assert.True(tested > explained * 2, told);
    }

    [Fact]
    public void What_machines_do_by_themselves_has_a_test() => Assert.All(Behaviours, name => Assert.Contains(name, Tests));

    [Fact]
    public void CVE_2022_23950_GHSA_9r9r_f8xc_m875_no_program_of_ours_has_a_file_or_socket_in_a_folder_that_all_share()
    {
        var programs = Checkout.Files("*.cs").Where(static f => Path.GetRelativePath(Checkout.Root, f).Split('/')[0] is "agent" or "functions" or "tenant" or "tpm" or "attestation" or "protocol").ToArray();
        Assert.True(programs.Length > 100, $"{programs.Length} files");
        Assert.All(programs, file => Assert.False(SharedFolder().IsMatch(File.ReadAllText(file)), Path.GetRelativePath(Checkout.Root, file)));
    }

    private static string NameOf(string number) =>
        (number.StartsWith("Keylime ", StringComparison.Ordinal) ? "_" + number[8..] + "_" : number).Replace('-', '_').Replace(' ', '_').Replace('.', '_');

    [GeneratedRegex(@"\[(?:Fact|Theory)\]\s*(?:\[[^\n]*\]\s*(?://[^\n]*\s*)?)*public (?:static )?(?:async Task|void) (?<name>\w+)\(")]
    private static partial Regex TestMethod();

    [GeneratedRegex("""GetTempPath|GetTempFileName|"/(?:tmp|var/tmp|dev/shm|run)/""")]
    private static partial Regex SharedFolder();
}

using System.Security.Cryptography;
using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Tests;

/// <summary>Payloads are here when the machine passes, and nothing else is, whatever the service, or somebody before it, answers.</summary>
public sealed class PayloadTests : PayloadBench
{
    [Fact]
    public async Task They_are_here_after_an_attestation_that_passed_and_are_asked_for_once()
    {
        var (small, large) = (Content("small", 1, 0), Content("large.bin", 7, 9_000_000) with { Share = RandomNumberGenerator.GetBytes(32) });
        _script.Put(small);
        _script.Put(large);
        await RunUntilAsync(() => _script.Reports.Count == 2 && _script.Accepted >= 5);

        Assert.Equal([".state", "large.bin", "small"], _tmpfs.Names);
        await IsHereAsync(small);
        await IsHereAsync(large);
        Assert.All(_script.Reports, static r => Assert.Equal((PayloadOutcome.Written, (string?)null), (r.Report.Outcome, r.Report.Detail)));
        Assert.Equal([("large.bin", 7L), ("small", 1L)], _script.Reports.Select(static r => (r.Name, r.Report.Version)).Order());
        Assert.Equal(_script.Released.Select(static r => r.Release).Order(), _script.Reports.Select(static r => r.Report.Release).Order());
        Assert.Equal(1, Count("GET", "/payloads"));
        Assert.Equal([3, 1], (int[])[Count("GET", "/parts/", "large.bin"), Count("GET", "/parts/", "small")]);
        Assert.Empty((await _rig.Swtpm.RunToolAsync("tpm2_getcap", "handles-transient")).Trim());
        Assert.Empty((await _rig.Swtpm.RunToolAsync("tpm2_getcap", "handles-loaded-session")).Trim());

        // Another start finds them, and fetches nothing.
        await RunUntilAsync(() => Count("GET", "/payloads") == 2 && _script.Accepted >= 8);
        Assert.Equal(2, _script.Released.Count);
        Assert.Equal(2, _script.Reports.Count);
    }

    [Fact]
    public async Task A_new_version_takes_the_old_ones_place_and_what_is_not_offered_any_more_is_wiped()
    {
        _script.Put(Content("a", 1, 1000));
        _script.Put(Content("b", 1, 1000));
        var stage = 0;
        await RunUntilAsync(() =>
        {
            if (stage == 0 && _script.Reports.Count == 2)
            {
                _script.Payloads.TryRemove("b", out _);
                _script.Put(Content("a", 2, 500));
                stage = 1;
            }
            else if (stage == 1 && _script.Reports.Count == 4)
            {
                Assert.Equal([".state", "a"], _tmpfs.Names);
                Assert.Equal(500, new FileInfo(_tmpfs["a"]).Length);
                _script.Payloads.Clear(); // the last one: the answer says nothing of payloads
                stage = 2;
            }

            return _script.Reports.Count == 5;
        });
        Assert.Equal([".state"], _tmpfs.Names);
        Assert.Equal(
            [("a", 1L, PayloadOutcome.Written), ("a", 2L, PayloadOutcome.Wiped), ("a", 2L, PayloadOutcome.Written), ("b", 1L, PayloadOutcome.Wiped), ("b", 1L, PayloadOutcome.Written)],
            _script.Reports.Select(static r => (r.Name, r.Report.Version, r.Report.Outcome)).OrderBy(static r => r.Name, StringComparer.Ordinal).ThenBy(static r => r.Version).ThenByDescending(static r => r.Outcome));
    }

    [Theory]
    [InlineData("an old answer", "the answer is an old one")]
    [InlineData("the answer of another payload under this one's name", "the answer is an old one, or was changed")]
    [InlineData("the answer of another payload", "The release does not fit what was asked for: it is of 'other'")]
    [InlineData("another size", "The release does not fit")]
    [InlineData("the parts in another order", "the answer is an old one, or was changed")]
    [InlineData("a part less", "The release does not fit what was asked for: its parts are")]
    [InlineData("another version", "The release does not fit")]
    [InlineData("a bit of the duplicate", "The TPM refused TPM2_Import")]
    [InlineData("a bit of the seed", "The TPM refused TPM2_Import")]
    [InlineData("no object", "byte 0")]
    [InlineData("no PCRs", "The policy is over no PCRs of a bank")]
    [InlineData("other PCRs", "The TPM refused TPM2_Unseal")]
    [InlineData("another boot", "The TPM refused TPM2_PolicyCounterTimer")]
    [InlineData("more time", "The TPM refused TPM2_Unseal")]
    [InlineData("another's share", "segment 0 is not what was sealed with this key")]
    [InlineData("no share", "segment 0 is not what was sealed with this key")]
    [InlineData("a PCR changes", "The TPM refused TPM2_Unseal")]
    [InlineData("time goes by", "The TPM refused TPM2_PolicyCounterTimer")]
    public async Task What_was_not_released_to_this_request_does_not_open(string attack, string detail)
    {
        var good = Content("good", 3, 200_000) with { PartSize = 50_000, Share = attack.Contains("share", StringComparison.Ordinal) ? RandomNumberGenerator.GetBytes(32) : null };
        var other = Content("other", 3, 200_000) with { PartSize = 50_000, Share = good.Share };
        _script.Put(good);
        var on = true;
        ReleasedPayload? old = null;
        _script.Alter = released =>
        {
            if (!on)
                return released;
            var policy = released.Policy;
            old ??= attack == "an old answer" ? _script.Make(good, new ReleaseRequest(3, RandomNumberGenerator.GetBytes(32))) : _script.Make(other, new ReleaseRequest(3, RandomNumberGenerator.GetBytes(32)));
            return attack switch
            {
                "an old answer" or "the answer of another payload" => old,
                "the answer of another payload under this one's name" => old with { Name = "good" },
                "another size" => released with { Size = released.Size + 1 },
                "another version" => released with { Version = 2 },
                "the parts in another order" => released with { Parts = [released.Parts[1], released.Parts[0], .. released.Parts.Skip(2)] },
                "a part less" => released with { Parts = [.. released.Parts.Skip(1)] },
                "a bit of the duplicate" => released with { Key = released.Key with { Duplicate = Flip(released.Key.Duplicate) } },
                "a bit of the seed" => released with { Key = released.Key with { Seed = Flip(released.Key.Seed) } },
                "no object" => released with { Key = released.Key with { Public = [1, 2, 3] } },
                "no PCRs" => released with { Policy = policy with { Pcrs = [] } },
                "other PCRs" => released with { Policy = policy with { Pcrs = [1, 2] } },
                "another boot" => released with { Policy = policy with { ResetCount = policy.ResetCount + 1 } },
                "more time" => released with { Policy = policy with { Clock = policy.Clock + 1 } },
                "another's share" => released with { Share = _script.Make(other with { Share = RandomNumberGenerator.GetBytes(32) }, new ReleaseRequest(3, new byte[32])).Share },
                "no share" => released with { Share = null },
                _ => released,
            };
        };
        _script.AfterRelease = () =>
        {
            if (on && attack == "a PCR changes")
                RunTool("tpm2_pcrextend", $"16:sha256={new string('d', 64)}");
            if (on && attack == "time goes by")
                RunTool("tpm2_setclock", $"{_script.Released.Last().Policy.Clock}");
        };

        // It fails, is told once, is tried again, and is there once nothing is in its way; all the while the machine attests.
        await RunUntilAsync(() =>
        {
            if (on && _script.Released.Count >= 2)
            {
                Assert.Equal([".state"], _tmpfs.Names);
                on = false;
            }

            return _script.Reports.Any(static r => r.Report.Outcome == PayloadOutcome.Written);
        });
        await IsHereAsync(good);
        var failed = Assert.Single(_script.Reports, static r => r.Report.Outcome == PayloadOutcome.Failed).Report;
        Assert.Contains(detail, failed.Detail, StringComparison.Ordinal);
        Assert.Equal(3, failed.Version);
        Assert.DoesNotContain(Convert.ToHexString(good.Key)[..16], failed.Detail, StringComparison.OrdinalIgnoreCase);
        Assert.True(_script.Accepted >= 3);
        var challenges = _service.Requests.Where(static r => r.Path.EndsWith("/release", StringComparison.Ordinal)).Select(static r => r.Json["challenge"]!.GetValue<string>()).ToArray();
        if (!attack.Contains("share", StringComparison.Ordinal)) // which the TPM unsealed: what it opens shows behind it
            Assert.Equal(challenges.Length, challenges.Distinct().Count());
        Assert.Empty((await _rig.Swtpm.RunToolAsync("tpm2_getcap", "handles-loaded-session")).Trim());
    }

    [Theory]
    [InlineData("altered", "Part 2 is not the one that was released")]
    [InlineData("swapped", "Part 2 is not the one that was released")]
    [InlineData("cut", "bytes came, 50000 are expected")]
    [InlineData("endless", "more bytes came, 50000 are expected")]
    [InlineData("not there", "404")]
    public async Task A_part_that_is_another_leaves_nothing(string attack, string detail)
    {
        var good = Content("good", 1, 300_000) with { PartSize = 50_000 };
        _script.Put(good);
        var on = true;
        _script.Instead = received => !on || !received.Path.EndsWith("/parts/2", StringComparison.Ordinal) ? null : attack switch
        {
            "altered" => new Scripted(200, Flip(good.Parts[2]), []),
            "swapped" => new Scripted(200, good.Parts[3], []),
            "cut" => new Scripted(200, good.Parts[2][..^1], []),
            "endless" => new Scripted(200, [.. good.Parts[2], .. new byte[5_000_000]], []),
            _ => Scripted.Json(404, """{"errors":[{"status":"404","detail":"There is no such part."}]}"""),
        };
        await RunUntilAsync(() =>
        {
            if (on && _script.Reports.Any(static r => r.Report.Outcome == PayloadOutcome.Failed) && _script.Accepted >= 4)
            {
                Assert.Equal([".state"], _tmpfs.Names.Where(static n => n != ".next"));
                on = false;
            }

            return _script.Reports.Any(static r => r.Report.Outcome == PayloadOutcome.Written);
        });
        await IsHereAsync(good);
        Assert.Contains(detail, Assert.Single(_script.Reports, static r => r.Report.Outcome == PayloadOutcome.Failed).Report.Detail, StringComparison.Ordinal);

        // Of what is released once, a fetch that broke off is not the end: the same challenge gets it again.
        Assert.Single(_service.Requests.Where(static r => r.Path.EndsWith("/release", StringComparison.Ordinal)).Select(static r => r.Json["challenge"]!.GetValue<string>()).Distinct());
    }

    [Fact]
    public async Task A_thin_line_or_a_token_that_ran_out_does_not_begin_a_fetch_anew()
    {
        var good = Content("good", 1, 300_000) with { PartSize = 50_000 };
        _script.Put(good);
        var (unavailable, unauthorized) = (2, 1);
        _script.Instead = received => received.Path.EndsWith("/parts/3", StringComparison.Ordinal) && unavailable-- > 0 ? Scripted.Json(503, "{}")
            : received.Path.EndsWith("/parts/4", StringComparison.Ordinal) && unauthorized-- > 0 ? Scripted.Json(401, "{}") : null;
        await RunUntilAsync(() => _script.Reports.Count == 1);
        await IsHereAsync(good);
        Assert.Equal([1, 3, 2], (int[])[Count("GET", "/parts/0"), Count("GET", "/parts/3"), Count("GET", "/parts/4")]);
        Assert.Single(_script.Released);
    }

    [Theory]
    [InlineData("../x")]
    [InlineData(".x")]
    [InlineData("a/b")]
    [InlineData("")]
    [InlineData("..")]
    public async Task A_name_that_is_none_leads_nowhere(string name)
    {
        _script.Offers = $$"""{"payloads":[{"name":"fine","version":1,"size":3},{"name":"{{name}}","version":1,"size":3}]}""";
        await RunUntilAsync(() => Count("GET", "/payloads") >= 2 && _script.Accepted >= 3);
        Assert.Empty(_tmpfs.Names);
        Assert.Equal(0, Count("POST", "/release"));
        Assert.False(File.Exists("/dev/shm/x"));
    }
}

using System.Security.Cryptography;
using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Tests;

/// <summary>Payloads of a machine with a real software TPM: here when it passes, gone when it fails, and nothing else whatever the service, or somebody before it, answers.</summary>
public sealed class PayloadTests : IAsyncLifetime
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private readonly Tmpfs _tmpfs = Tmpfs.Make();
    private AgentRig _rig = null!; // InitializeAsync
    private PayloadScript _script = null!;
    private ScriptedService _service = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        _rig = await AgentRig.StartAsync(lines: 2);
        _script = new PayloadScript(_rig);
        _service = await ScriptedService.StartAsync(r => _script.Answer(r));
    }

    public async ValueTask DisposeAsync()
    {
        await _service.DisposeAsync();
        await _rig.DisposeAsync();
        _tmpfs.Dispose();
    }

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

    [Fact]
    public async Task A_release_that_is_refused_is_asked_for_each_round_and_is_no_failure_of_the_agent()
    {
        var good = Content("good", 1, 100);
        _script.Put(good);
        _script.Instead = received => received.Path.EndsWith("/release", StringComparison.Ordinal) && Count("POST", "/release") <= 3
            ? Scripted.Json(403, """{"errors":[{"status":"403","code":"not_released","detail":"The last verdict is older than 120 s."}]}""") : null;
        await RunUntilAsync(() => !_script.Reports.IsEmpty);
        await IsHereAsync(good);
        Assert.Equal(PayloadOutcome.Written, Assert.Single(_script.Reports).Report.Outcome);
        Assert.Equal(4, Count("POST", "/release"));
    }

    [Fact]
    public async Task An_answer_that_was_lost_is_asked_for_again_with_the_same_challenge()
    {
        var good = Content("good", 1, 100);
        _script.Put(good);
        _script.AfterRelease = () =>
        {
            if (_script.Released.Count < 3)
                throw new IOException("The line broke.");
        };
        await RunUntilAsync(() => _script.Reports.Any(static r => r.Report.Outcome == PayloadOutcome.Written));
        await IsHereAsync(good);
        Assert.Single(_service.Requests.Where(static r => r.Path.EndsWith("/release", StringComparison.Ordinal)).Select(static r => r.Json["challenge"]!.GetValue<string>()).Distinct());
        Assert.DoesNotContain(_script.Reports, static r => r.Report.Outcome == PayloadOutcome.Failed);
    }

    [Fact]
    public async Task A_vault_that_wants_time_gets_it()
    {
        _script.Put(Content("good", 1, 100));
        DateTimeOffset? first = null, second = null;
        _script.Instead = received =>
        {
            if (!received.Path.EndsWith("/release", StringComparison.Ordinal))
                return null;
            if (first is not null)
                second ??= _rig.Clock.GetUtcNow();
            first ??= _rig.Clock.GetUtcNow();
            return second is null ? Scripted.Json(503, """{"errors":[{"status":"503","detail":"The vault throttles."}]}""").With("Retry-After", "90") : null;
        };
        await RunUntilAsync(() => !_script.Reports.IsEmpty);
        Assert.True(second - first >= TimeSpan.FromSeconds(90), $"{second - first}");
        Assert.True(_script.Accepted > 10);
    }

    [Fact]
    public async Task After_a_reboot_between_release_and_unseal_it_does_not_open()
    {
        var good = Content("good", 1, 1000);
        _script.Put(good);
        var done = false;
        _script.AfterRelease = () =>
        {
            if (!done)
                _rig.Swtpm.ResetAsync().GetAwaiter().GetResult();
            done = true;
        };
        await RunUntilAsync(() => _script.Reports.Any(static r => r.Report.Outcome == PayloadOutcome.Written));
        await IsHereAsync(good);
        Assert.Contains("TPM", Assert.Single(_script.Reports, static r => r.Report.Outcome == PayloadOutcome.Failed).Report.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("failed")]
    [InlineData("retired")]
    [InlineData("unknown")]
    public async Task They_are_wiped_at_once_when_the_machine_is_not_trusted_and_come_back_when_it_is(string how)
    {
        var payloads = Enumerable.Range(0, 5).Select(static i => Content($"p{i}", 1, 1000)).ToArray();
        foreach (var payload in payloads)
            _script.Put(payload);
        var (stage, at) = (0, 0);
        string[] seen = [];
        _script.Instead = received =>
        {
            if (stage != 1)
                return null;
            if (received.Path.EndsWith("/report", StringComparison.Ordinal) && seen.Length == 0)
                seen = [.. _tmpfs.Names]; // none of them is told before all are gone
            return how switch
            {
                "retired" when received is { Method: "POST" } && received.Path.EndsWith("/attestations", StringComparison.Ordinal) =>
                    Scripted.Json(403, """{"errors":[{"status":"403","code":"agent_attestations_disabled","detail":"It is retired."}]}"""),
                "unknown" when received is { Method: "POST" } && received.Path.EndsWith("/attestations", StringComparison.Ordinal) => Scripted.Json(401, "{}"),
                "unknown" when received is { Method: "PATCH" } => Scripted.Json(401, "{}"),
                _ => null,
            };
        };
        await RunUntilAsync(() =>
        {
            if (stage == 0 && _script.Reports.Count == 5)
            {
                (stage, at) = (1, _script.Accepted);
                _script.Evaluation = how == "failed" ? "fail" : "pass";
            }
            else if (stage == 1 && !_tmpfs.Names.Except([".state"]).Any())
            {
                stage = 2;
                _script.Evaluation = "pass";
            }

            return stage == 2 && _script.Reports.Count(static r => r.Report.Outcome == PayloadOutcome.Written) == 10;
        });
        if (how == "failed")
            Assert.Equal([".state"], seen);
        if (how != "unknown") // whose reports nobody takes; that they are here again is told
            Assert.Equal(5, _script.Reports.Count(static r => r.Report.Outcome == PayloadOutcome.Wiped));
        foreach (var payload in payloads)
            await IsHereAsync(payload);
    }

    [Fact]
    public async Task A_refusal_that_says_something_else_wipes_nothing()
    {
        _script.Put(Content("good", 1, 1000));
        var refused = 0;
        _script.Instead = received => !_script.Reports.IsEmpty && refused < 3 && received is { Method: "POST" } && received.Path.EndsWith("/attestations", StringComparison.Ordinal) && refused++ >= 0
            ? Scripted.Json(403, "<html>a proxy</html>") : null;
        await RunUntilAsync(() => refused == 3 && _script.Accepted >= 4);
        Assert.Equal([".state", "good"], _tmpfs.Names);
        Assert.Single(_script.Reports);
    }

    [Fact]
    public async Task A_fetch_under_way_ends_when_the_machine_fails_and_the_machine_attests_beside_it()
    {
        _script.Put(Content("large", 1, 3_000_000) with { PartSize = 500_000 });
        using var held = new ManualResetEventSlim();
        var (asked, accepted) = (false, 0);
        _script.Instead = received =>
        {
            if (!received.Path.EndsWith("/parts/3", StringComparison.Ordinal))
                return null;
            asked = true;
            held.Wait(TimeSpan.FromSeconds(60));
            return null;
        };
        try
        {
            await RunUntilAsync(() =>
            {
                if (asked && accepted == 0)
                {
                    Assert.Contains(".next", _tmpfs.Names); // a part of it is there, under no name that counts
                    accepted = _script.Accepted;
                }
                else if (accepted > 0 && _script.Accepted >= accepted + 2)
                {
                    _script.Evaluation = "fail";
                }

                return _script.Evaluation == "fail" && _script.Accepted >= accepted + 4 && !_tmpfs.Names.Contains(".next");
            });
        }
        finally
        {
            held.Set();
        }

        Assert.Equal([".state"], _tmpfs.Names);
    }

    [Theory]
    [InlineData("on a disk", "and not on a tmpfs")]
    [InlineData("a link", "is a symbolic link")]
    [InlineData("a file", "or no directory")]
    [InlineData("not there", "is not there")]
    [InlineData("open to others", "has the mode 0750")]
    [InlineData("with something in it", "holds 'mine', which is not the agent's")]
    [InlineData("another's", "belongs to user 1")]
    public async Task CVE_2022_23948_GHSA_wj36_qcfg_5j52_a_directory_that_is_not_safe_takes_nothing_and_the_service_hears_why(string how, string detail)
    {
        if (how == "another's")
            Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root gives a directory away");
        _script.Put(Content("good", 1, 1000));
        var path = _tmpfs.Path;
        var elsewhere = Path.Combine(AppContext.BaseDirectory, $"disk-{Guid.NewGuid():N}");
        switch (how)
        {
            case "on a disk":
                path = Directory.CreateDirectory(elsewhere, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute).FullName;
                break;
            case "a link":
                path = File.CreateSymbolicLink(elsewhere, _tmpfs.Path).FullName;
                break;
            case "a file":
                await File.WriteAllTextAsync(path = _tmpfs["file"], "", Cancel);
                break;
            case "not there":
                path = _tmpfs["nothing"];
                break;
            case "open to others":
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | UnixFileMode.GroupRead | UnixFileMode.GroupExecute);
                break;
            case "with something in it":
                await File.WriteAllTextAsync(_tmpfs["mine"], "mine", Cancel);
                break;
            case "another's":
                await Testing.ToolProcess.RunAsync("chown", "/", ["1", path], tcti: null);
                break;
        }

        var before = _tmpfs.Names.ToArray();
        try
        {
            await RunUntilAsync(() => _script.Accepted >= 5 && !_script.Reports.IsEmpty, path);
            var report = Assert.Single(_script.Reports).Report;
            Assert.Equal(PayloadOutcome.Failed, report.Outcome);
            Assert.Contains(detail, report.Detail, StringComparison.Ordinal);
            Assert.Empty(_script.Released);
            Assert.Equal(before, _tmpfs.Names);
        }
        finally
        {
            if (how == "on a disk")
                Directory.Delete(elsewhere, recursive: true);
            File.Delete(elsewhere);
        }
    }

    [Fact]
    public async Task A_link_in_a_payloads_place_leads_nowhere()
    {
        var good = Content("good", 1, 1000);
        _script.Put(good);
        await RunUntilAsync(() => _script.Reports.Count == 1);
        var target = Path.Combine(_rig.Home, "target");
        await File.WriteAllTextAsync(target, "untouched", Cancel);
        File.Delete(_tmpfs["good"]);
        File.CreateSymbolicLink(_tmpfs["good"], target);
        File.CreateSymbolicLink(_tmpfs[".next"], target);
        await RunUntilAsync(() => _script.Reports.Count(static r => r.Report.Outcome == PayloadOutcome.Written) == 2);
        await IsHereAsync(good);
        Assert.Null(new FileInfo(_tmpfs["good"]).LinkTarget);
        Assert.Equal("untouched", await File.ReadAllTextAsync(target, Cancel));
    }

    [Fact]
    public async Task A_full_tmpfs_keeps_the_old_version_and_takes_the_new_one_once_there_is_room()
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root mounts a tmpfs with a size");
        using var small = await Tmpfs.MountAsync("600k");
        var (old, next) = (Content("good", 1, 100_000), Content("good", 2, 900_000));
        _script.Put(old);
        var grown = false;
        await RunUntilAsync(() =>
        {
            if (_script.Reports.Count == 1 && _script.Payloads["good"].Version == 1)
                _script.Put(next);
            if (!grown && _script.Reports.Count == 2 && _script.Released.Count >= 3)
            {
                Assert.Contains("No space left on device", _script.Reports.Last().Report.Detail, StringComparison.Ordinal);
                Assert.Equal(old.Content, File.ReadAllBytes(small["good"]));
                small.GrowAsync("2m").GetAwaiter().GetResult();
                grown = true;
            }

            return _script.Reports.Count(static r => r.Report.Outcome == PayloadOutcome.Written) == 2;
        }, small.Path);
        Assert.Equal([".state", "good"], small.Names);
        Assert.Equal(next.Content, await File.ReadAllBytesAsync(small["good"], Cancel));
        Assert.Single(_script.Reports, static r => r.Report.Outcome == PayloadOutcome.Failed);
    }

    [Fact]
    public async Task A_machine_that_takes_none_asks_for_none()
    {
        _script.Put(Content("good", 1, 1000));
        await RunUntilAsync(() => _script.Accepted >= 3, "");
        Assert.Equal(0, Count("GET", "/payloads"));
    }

    private static ScriptedPayload Content(string name, long version, int size) => new(name, version, RandomNumberGenerator.GetBytes(size));

    private static byte[] Flip(byte[] bytes)
    {
        var flipped = (byte[])bytes.Clone();
        flipped[flipped.Length / 2] ^= 1;
        return flipped;
    }

    private void RunTool(string tool, params string[] args) => _rig.Swtpm.RunToolAsync(tool, args).GetAwaiter().GetResult();

    private int Count(string method, params string[] parts) =>
        _service.Requests.Count(r => r.Method == method && (parts is ["/payloads"] ? r.Path.EndsWith("/payloads", StringComparison.Ordinal) : parts.All(p => r.Path.Contains(p, StringComparison.Ordinal))));

    private async Task IsHereAsync(ScriptedPayload payload)
    {
        Assert.Equal(payload.Content, await File.ReadAllBytesAsync(_tmpfs[payload.Name], Cancel));
        Assert.Equal(OwnerOnly, File.GetUnixFileMode(_tmpfs[payload.Name]));
    }

    private Task RunUntilAsync(Func<bool> done, string? path = null) =>
        _rig.RunUntilAsync(_service, done, _rig.Options(_service.Url) with { PayloadDir = path ?? _tmpfs.Path });
}

using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Tests;

/// <summary>Payloads stay as long as the machine is trusted, in a place that is safe, and go when it is not.</summary>
public sealed class PayloadKeepingTests : PayloadBench
{
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
            if (stage > 0 && received.Path.EndsWith("/report", StringComparison.Ordinal) && seen.Length == 0)
                seen = [.. _tmpfs.Names]; // none of them is told before all are gone
            if (stage != 1)
                return null;
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
            Assert.True(Environment.IsPrivilegedProcess, "only root gives a directory away");
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
        Assert.True(Environment.IsPrivilegedProcess, "only root mounts a tmpfs with a size");
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
}

using System.Security.Cryptography;
using Keylime.Protocol.Notices;

namespace Keylime.Agent.Tests;

/// <summary>Each notice is dealt with, in order, once; and what is not is said.</summary>
public sealed class NoticeInboxTests : IDisposable
{
    private readonly NoticeRig _rig = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Notices_start_actions_in_their_order_and_those_of_itself_and_those_that_came_before_start_none()
    {
        _rig.Record("node.failed");
        _rig.Record("any");
        Assert.Equal(NoticeBatch.FromNowOn, _rig.Inbox.After);
        await _rig.StartAtAsync(4);
        Assert.Equal(4, _rig.Inbox.After);

        await _rig.TakeAsync(4, _rig.Sign(4), _rig.Sign(5), _rig.Sign(6, NoticeTypes.Recovered), _rig.Sign(7, node: NoticeRig.Self), _rig.Sign(8, "node.of-a-newer-service"), _rig.Sign(9));
        string[] all = [$"node.failed {NoticeRig.Json(5)}", $"any {NoticeRig.Json(6, NoticeTypes.Recovered)}", $"any {NoticeRig.Json(8, "node.of-a-newer-service")}", $"node.failed {NoticeRig.Json(9)}"];
        Assert.Equal(all, _rig.Done);
        Assert.Equal("""{"after":9}""", _rig.Cursor);

        // The same once more, to this inbox and to one that is started anew.
        await _rig.TakeAsync(8, _rig.Sign(8), _rig.Sign(9));
        _rig.Open();
        await _rig.TakeAsync(8, _rig.Sign(8), _rig.Sign(9));
        Assert.Equal(all, _rig.Done);
    }

    [Theory]
    [InlineData("a wrong signature")]
    [InlineData("garbage")]
    [InlineData("a gap")]
    [InlineData("no notice")]
    public async Task What_cannot_be_believed_is_neither_acted_upon_nor_passed_until_an_hour_has_gone_by_and_then_it_is_said(string what)
    {
        using var stranger = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var bad = what switch
        {
            "a wrong signature" => _rig.Sign(2, key: stranger),
            "garbage" => "x.y",
            "a gap" => null,
            _ => _rig.SignText(NoticeRig.Json(-5)),
        };
        string[] texts = [_rig.Sign(1), .. bad is null ? Array.Empty<string>() : [bad], _rig.Sign(3)];
        _rig.Record("node.failed");
        _rig.Record("notices.lost");
        await _rig.StartAtAsync(0);
        for (var minutes = 0; minutes < 60; minutes += 10)
        {
            await _rig.TakeAsync(1, texts);
            Assert.Equal(1, _rig.Inbox.After);
            Assert.Equal([$"node.failed {NoticeRig.Json(1)}"], _rig.Done);
            _rig.Clock.Advance(TimeSpan.FromMinutes(10));
            _rig.Open(); // how long it has been so is not forgotten
        }

        await _rig.TakeAsync(1, texts);
        Assert.Equal(3, _rig.Inbox.After);
        Assert.Equal(3, _rig.Done.Length);
        Assert.StartsWith("""notices.lost {"type":"notices.lost","from":2,"to":2,"reason":""", _rig.Done[1], StringComparison.Ordinal);
        Assert.Equal($"node.failed {NoticeRig.Json(3)}", _rig.Done[2]);

        // The next doubt begins anew.
        await _rig.TakeAsync(4, "x.y");
        Assert.Equal(3, _rig.Inbox.After);
    }

    [Fact]
    public async Task One_that_was_repaired_is_dealt_with()
    {
        _rig.Record("node.failed");
        await _rig.StartAtAsync(0);
        await _rig.TakeAsync(1, "x.y");
        _rig.Clock.Advance(TimeSpan.FromMinutes(59));
        await _rig.TakeAsync(1, _rig.Sign(1));
        Assert.Equal([$"node.failed {NoticeRig.Json(1)}"], _rig.Done);
        Assert.Equal("""{"after":1}""", _rig.Cursor);
    }

    [Theory]
    [InlineData(long.MaxValue)]
    [InlineData(-7)]
    public async Task A_number_that_none_can_come_behind_is_not_believed(long next)
    {
        _rig.Record("node.failed");
        await _rig.TakeAsync(new NoticeBatch([], next));
        await _rig.TakeAsync(new NoticeBatch([], next) { Lost = true });
        await _rig.StartAtAsync(0);
        await _rig.TakeAsync(new NoticeBatch([], next) { Lost = true });
        await _rig.TakeAsync(1, _rig.Sign(1));
        Assert.Equal([$"node.failed {NoticeRig.Json(1)}"], _rig.Done);
    }

    [Fact]
    public async Task A_service_that_does_not_have_them_any_more_and_one_that_counts_anew_are_told_of()
    {
        _rig.Record("any");
        await _rig.StartAtAsync(10);
        await _rig.TakeAsync(new NoticeBatch([_rig.Sign(31), _rig.Sign(32)], 32) { Lost = true });
        Assert.Equal(32, _rig.Inbox.After);
        await _rig.TakeAsync(new NoticeBatch([], 5) { Lost = true });
        Assert.Equal(5, _rig.Inbox.After);
        Assert.Equal(4, _rig.Done.Length);
        Assert.StartsWith("""any {"type":"notices.lost","from":11,"to":30,""", _rig.Done[0], StringComparison.Ordinal);
        Assert.StartsWith("""any {"type":"notices.lost","from":33,"to":5,""", _rig.Done[3], StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_agent_that_is_stopped_in_the_middle_of_an_action_runs_it_again()
    {
        _rig.Install("any", $"echo started >> {_rig.Output}; sleep 600");
        await _rig.StartAtAsync(0);
        using var stop = new CancellationTokenSource();
        _rig.Inbox.Take(new NoticeBatch([_rig.Sign(1)], 1), static (_, _) => throw new InvalidOperationException("Nobody should ask."), stop.Token);
        for (var i = 0; _rig.Done.Length == 0; i++)
        {
            Assert.True(i < 500);
            await Task.Delay(20, Cancel);
        }

        _rig.Inbox.Take(new NoticeBatch([_rig.Sign(1)], 1), static (_, _) => throw new InvalidOperationException("Nobody should ask."), stop.Token); // comes again meanwhile, and is left
        await stop.CancelAsync();
        await _rig.Inbox.Idle.WaitAsync(TimeSpan.FromSeconds(20), Cancel);
        Assert.Equal(0, _rig.Open().After);
        _rig.Record("any");
        await _rig.TakeAsync(1, _rig.Sign(1));
        Assert.Equal(["started", $"any {NoticeRig.Json(1)}"], _rig.Done);
    }

    [Fact]
    public async Task All_that_wait_are_asked_for_at_once()
    {
        _rig.Record("any");
        await _rig.StartAtAsync(0);
        var asked = new List<long>();
        _rig.Inbox.Take(Batch(1, 16), (after, _) =>
        {
            asked.Add(after);
            return Task.FromResult(Batch(after + 1, after == 16 ? 16 : 3));
        }, Cancel);
        await _rig.Inbox.Idle.WaitAsync(TimeSpan.FromSeconds(60), Cancel);
        Assert.Equal([16, 32], asked);
        Assert.Equal(Enumerable.Range(1, 35).Select(static i => $"any {NoticeRig.Json(i)}"), _rig.Done);

        NoticeBatch Batch(long from, int count) => new([.. Enumerable.Range(0, count).Select(i => _rig.Sign(from + i))], from + count - 1);
    }

    [Fact]
    public async Task A_cursor_that_cannot_be_read_starts_from_now_on_and_a_service_without_notices_changes_nothing()
    {
        await File.WriteAllTextAsync(_rig.Options.NoticeCursorPath, """{"after":"x"}""", Cancel);
        Assert.Equal(NoticeBatch.FromNowOn, _rig.Open().After);
        _rig.Inbox.Take(null, static (_, _) => throw new InvalidOperationException("Nobody should ask."), Cancel);
        Assert.Equal(NoticeBatch.FromNowOn, _rig.Inbox.After);
        await _rig.StartAtAsync(7);
        Assert.Equal(7, _rig.Open().After);
    }

    [Fact]
    public async Task A_key_can_be_added_while_the_agent_runs_and_a_file_that_cannot_be_used_keeps_notices_waiting()
    {
        using var next = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        _rig.Record("any");
        await _rig.StartAtAsync(0);
        await _rig.TakeAsync(1, _rig.Sign(1, key: next));
        await File.AppendAllTextAsync(_rig.Options.NoticeKeyPath, "\n# the next one\n" + next.ExportSubjectPublicKeyInfoPem(), Cancel);
        await _rig.TakeAsync(1, _rig.Sign(1, key: next), _rig.Sign(2));
        Assert.Equal(2, _rig.Inbox.After);

        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP384);
        foreach (var (content, words) in ((string, string)[])
        [
            ("", "holds no key"),
            (next.ExportPkcs8PrivateKeyPem(), "'PRIVATE KEY'"),
            (other.ExportSubjectPublicKeyInfoPem(), "P-256"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "cannot be read"),
        ])
        {
            await File.WriteAllTextAsync(_rig.Options.NoticeKeyPath, content, Cancel);
            Assert.Contains(words, Assert.Throws<OptionsException>(_rig.Open).Message, StringComparison.Ordinal);
            await _rig.TakeAsync(3, _rig.Sign(3));
            Assert.Equal(2, _rig.Inbox.After);
        }
    }

    public void Dispose() => _rig.Dispose();
}

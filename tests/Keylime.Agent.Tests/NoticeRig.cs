using System.Security.Cryptography;
using System.Text;
using Keylime.Agent.Notices;
using Keylime.Protocol;
using Keylime.Protocol.Notices;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Agent.Tests;

/// <summary>An inbox with a key, a folder of real programs, and a clock that the test moves.</summary>
internal sealed class NoticeRig : IDisposable
{
    public const string Self = "self";

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public NoticeRig()
    {
        Folder = Directory.CreateTempSubdirectory("notices-").FullName;
        Actions = Path.Combine(Folder, "actions");
        Directory.CreateDirectory(Actions, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        using var root = NativeFiles.OpenRoot();
        using var tmp = NativeFiles.OpenFolder(root, "tmp");
        using var own = NativeFiles.OpenFolder(tmp, Path.GetFileName(Folder));
        ActionFolder = new ActionFolder(Actions) { Owner = NativeFiles.FactsOf(own).Owner }; // who runs the tests stands for root
        File.WriteAllText(Options.NoticeKeyPath, _key.ExportSubjectPublicKeyInfoPem());
        Inbox = Open();
    }

    public string Folder { get; }

    public string Actions { get; }

    public ActionFolder ActionFolder { get; }

    public FakeTimeProvider Clock { get; } = new();

    public NoticeInbox Inbox { get; private set; }

    public AgentOptions Options => new() { KeylimeDir = Folder, NoticeKey = "notice.pem" };

    public string Cursor => File.ReadAllText(Options.NoticeCursorPath);

    /// <summary>What actions wrote, a line each time.</summary>
    public string[] Done => File.Exists(Output) ? File.ReadAllLines(Output) : [];

    public string Output => Path.Combine(Folder, "done");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public NoticeInbox Open() => Inbox = NoticeInbox.Open(Options, AgentId.Parse(Self), ActionFolder, Clock)!;

    /// <summary>Installs a shell script.</summary>
    public string Install(string name, string script, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute)
    {
        var path = Path.Combine(Actions, name);
        File.WriteAllText(path, $"#!/bin/sh\n{script}\n");
        File.SetUnixFileMode(path, mode);
        return path;
    }

    /// <summary>Installs a script that writes its name and what it gets.</summary>
    public string Record(string name) => Install(name, $"echo \"{name} $(cat)\" >> {Output}");

    /// <summary>The inbox has dealt with all before a number.</summary>
    public async Task StartAtAsync(long after) => await TakeAsync(new NoticeBatch([], after));

    public Task TakeAsync(long from, params string[] texts) => TakeAsync(new NoticeBatch(texts, from + texts.Length - 1));

    public async Task TakeAsync(NoticeBatch batch)
    {
        Inbox.Take(batch, static (_, _) => throw new InvalidOperationException("Nobody should ask."), Cancel);
        await Inbox.Idle.WaitAsync(TimeSpan.FromSeconds(30), Cancel);
    }

    public static string Json(long number, string type = NoticeTypes.Failed, string node = "other") =>
        $$"""{"number":{{number}},"id":"evt_{{number}}","type":"{{type}}","node":"{{node}}","at":"2026-11-28T12:00:00+00:00"}""";

    public string Sign(long number, string type = NoticeTypes.Failed, string node = "other", ECDsa? key = null) => SignText(Json(number, type, node), key);

    public string SignText(string json, ECDsa? key = null)
    {
        var input = SignedNotice.SigningInput(System.Text.Json.JsonSerializer.Deserialize(json, NoticeJson.Default.Notice)!, "v1");
        return SignedNotice.Join(input, (key ?? _key).SignData(Encoding.ASCII.GetBytes(input), HashAlgorithmName.SHA256));
    }

    public void Dispose()
    {
        _key.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}

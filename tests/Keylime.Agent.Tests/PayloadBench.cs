using System.Security.Cryptography;

namespace Keylime.Agent.Tests;

/// <summary>A machine with a real software TPM that takes payloads, and a service that says what a test wants.</summary>
public abstract class PayloadBench : IAsyncLifetime
{
    private protected const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private protected readonly Tmpfs _tmpfs = Tmpfs.Make();
    private protected AgentRig _rig = null!; // InitializeAsync
    private protected PayloadScript _script = null!;
    private protected ScriptedService _service = null!;

    private protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

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
        GC.SuppressFinalize(this);
    }
    private protected static ScriptedPayload Content(string name, long version, int size) => new(name, version, RandomNumberGenerator.GetBytes(size));

    private protected static byte[] Flip(byte[] bytes)
    {
        var flipped = (byte[])bytes.Clone();
        flipped[flipped.Length / 2] ^= 1;
        return flipped;
    }

    private protected void RunTool(string tool, params string[] args) => _rig.Swtpm.RunToolAsync(tool, args).GetAwaiter().GetResult();

    private protected int Count(string method, params string[] parts) =>
        _service.Requests.Count(r => r.Method == method && (parts is ["/payloads"] ? r.Path.EndsWith("/payloads", StringComparison.Ordinal) : parts.All(p => r.Path.Contains(p, StringComparison.Ordinal))));

    private protected async Task IsHereAsync(ScriptedPayload payload)
    {
        Assert.Equal(payload.Content, await File.ReadAllBytesAsync(_tmpfs[payload.Name], Cancel));
        Assert.Equal(OwnerOnly, File.GetUnixFileMode(_tmpfs[payload.Name]));
    }

    private protected Task RunUntilAsync(Func<bool> done, string? path = null) =>
        _rig.RunUntilAsync(_service, done, _rig.Options(_service.Url) with { PayloadDir = path ?? _tmpfs.Path });
}

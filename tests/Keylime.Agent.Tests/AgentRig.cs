using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Testing;
using Keylime.Tpm;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Agent.Tests;

/// <summary>The agent's own loop on a real software TPM, with a clock that the test moves.</summary>
internal sealed class AgentRig : IAsyncDisposable
{
    public const string Id = "d432fbb3-d2f1-4a97-9ef7-75bd81c0de01";

    private readonly CancellationTokenSource _stop = new();

    private AgentRig(Swtpm swtpm)
    {
        Swtpm = swtpm;
        ImaPath = Path.Combine(swtpm.Folder, "ascii_runtime_measurements");
    }

    public Swtpm Swtpm { get; }

    public string ImaPath { get; }

    public FakeTimeProvider Clock { get; } = new(TimeProvider.System.GetUtcNow()) { AutoAdvanceAmount = TimeSpan.Zero };

    public byte[] UefiLog { get; set; } = [];

    public string Home => Swtpm.Folder;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static async Task<AgentRig> StartAsync(int lines)
    {
        var rig = new AgentRig(await Swtpm.StartAsync(new SwtpmOptions { PcrBanks = "sha1,sha256", EkCertificate = true }, Cancel));
        await using var tpm = rig.Swtpm.OpenClient();
        var ima = new ImaEmulator(rig.ImaPath, tpm, TpmAlgorithm.Sha1, TpmAlgorithm.Sha256);
        for (var i = 0; i < lines; i++)
            await ima.MeasureAsync(new byte[32], Encoding.ASCII.GetBytes($"/usr/bin/tool{i}"), Cancel);
        return rig;
    }

    public AgentOptions Options(Uri service) => new()
    {
        Uuid = Id,
        VerifierUrl = service,
        KeylimeDir = Home,
        ImaMlPath = ImaPath,
        TpmSigningAlg = "rsassa",
        Tpm = Swtpm.Spec,
        ExponentialBackoffInitialDelay = 1000,
        ExponentialBackoffMaxDelay = 4000,
    };

    /// <summary>Runs the loop until something is so, moving the clock on whenever nothing happens.</summary>
    public async Task RunUntilAsync(ScriptedService service, Func<bool> done, AgentOptions? options = null, Notices.ActionFolder? actions = null)
    {
        options ??= Options(service.Url);
        using var ima = ImaLogFile.Open(ImaPath);
        var loop = new AgentLoop(options, () => TpmDevices.Open(Swtpm.Spec), ima, UefiLog, Clock.GetUtcNow(), Clock) { Actions = actions };
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        var running = loop.RunAsync(once: false, stop.Token);
        for (var i = 0; !done(); i++)
        {
            if (running.IsCompleted)
                await running;
            Assert.True(i < 3000, $"Not done after {service.Requests.Count} requests: {string.Join(", ", service.Requests.Select(r => $"{r.Method} {r.Path}"))}");
            await Task.Delay(20, Cancel);
            Clock.Advance(TimeSpan.FromSeconds(1));
        }

        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    /// <summary>What a registrar answers to the claim of this agent's keys: a credential that really fits them.</summary>
    public static string Blob(Received registration)
    {
        var ek = PublicArea.Parse(Convert.FromBase64String(registration.Json["ek_tpm"]!.GetValue<string>()));
        var ak = PublicArea.Parse(Convert.FromBase64String(registration.Json["aik_tpm"]!.GetValue<string>()));
        return Convert.ToBase64String(Credential.Make(ek, ak.ComputeName(), "0123456789abcdefghijklmnopqrstuv"u8).Encode());
    }

    public static JsonNode Envelope(JsonObject results) => new JsonObject { ["code"] = 200, ["status"] = "Success", ["results"] = results };

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _stop.Dispose();
        await Swtpm.DisposeAsync();
    }
}

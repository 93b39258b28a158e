namespace Keylime.Vm.Tests;

/// <summary>A machine that has booted well once, is enrolled with what it booted and ran then, and is off.</summary>
public sealed class EnrolledMachine : IAsyncLifetime
{
    private Bench? _bench;

    /// <summary>How often its TPM has been reset: a verdict with a higher count is of a later boot.</summary>
    internal uint ResetCount { get; set; }

    internal Bench Bench => _bench ?? throw new InvalidOperationException("InitializeAsync comes first.");

    public async ValueTask InitializeAsync()
    {
        var cancel = TestContext.Current.CancellationToken;
        _bench = await Bench.StartAsync(cancel);
        await _bench.BootAsync(cancel);
        await _bench.EnrolAsync(cancel);
        ResetCount = (await _bench.WaitForVerdictOnAllAsync(cancel)).Clock!.ResetCount;
        await _bench.PutPayloadAsync("for good boots", cancel);
        await _bench.WaitForPayloadAsync("for good boots", cancel);
        await _bench.PowerOffAsync(cancel);
    }

    public async ValueTask DisposeAsync()
    {
        if (_bench is not null)
            await _bench.DisposeAsync();
    }
}

using CsCheck;
using Keylime.Testing;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm.Tests;

/// <summary>Responses of a real TPM, altered anyhow: the client says what it read, or that it is none; it never breaks, and never turns in a circle.</summary>
public static class ResponseTests
{
    private static readonly PcrSelection Pcrs = new(TpmAlgorithm.Sha256, PcrSet.Of(0, 7));

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public static async Task Altered_responses_are_a_value_or_a_format_error()
    {
        var recorded = await RecordAsync();
        Assert.Equal(Questions.Length, recorded.Count(r => r.Length > 10)); // each has an answer to alter
        foreach (var (ask, response) in Questions.Zip(recorded))
        {
            Assert.True(await IsToleratedAsync(ask, response));
            await Gen.Select(Gen.Int[0, response.Length - 1], Gen.Byte).Array[1, 3].SampleAsync(
                async changes =>
                {
                    var altered = response.ToArray();
                    foreach (var (at, value) in changes)
                        altered[at] = value;
                    return await IsToleratedAsync(ask, altered);
                },
                iter: 300);
            for (var length = 0; length < response.Length; length++)
                Assert.True(await IsToleratedAsync(ask, response[..length]));
        }
    }

    private static readonly Func<TpmClient, Task>[] Questions =
    [
        async tpm => await tpm.GetRandomAsync(16, Cancel),
        async tpm => await tpm.GetPropertyAsync(0x100, Cancel),
        async tpm => await tpm.GetPcrBanksAsync(Cancel),
        async tpm => await tpm.GetAlgorithmsAsync(Cancel),
        async tpm => await tpm.GetCurvesAsync(Cancel),
        async tpm => await tpm.GetHandlesAsync(0x80000000, Cancel),
        async tpm => await tpm.PcrReadAsync(Pcrs, Cancel),
        async tpm => await tpm.CreatePrimaryAsync(TpmClient.Owner, KeyTemplates.AkEccP256(), Cancel),
        async tpm => await tpm.ReadPublicAsync(0x80000000, Cancel),
        async tpm => await tpm.QuoteAsync(0x80000000, new byte[32], Pcrs, Cancel),
        async tpm => await tpm.CertifyAsync(0x80000000, 0x80000000, new byte[32], Cancel),
        async tpm => await tpm.SaveContextAsync(0x80000000, Cancel),
        async tpm => await tpm.ExecuteAsync<StartPolicySession, uint>(new StartPolicySession(TpmAlgorithm.Sha256, new byte[32], Trial: true), Cancel),
        async tpm => await tpm.NvReadPublicAsync(KeyTemplates.RsaCertificateIndex, Cancel),
    ];

    // What a real TPM says to each of the questions, the last packet of each.
    private static async Task<List<byte[]>> RecordAsync()
    {
        await using var swtpm = await Swtpm.StartAsync(new SwtpmOptions { EkCertificate = true }, Cancel);
        var tape = new Tape(TpmDevices.Open(swtpm.Spec));
        await using var tpm = new TpmClient(tape);
        var recorded = new List<byte[]>();
        foreach (var ask in Questions)
        {
            await ask(tpm);
            recorded.Add(tape.Last);
        }

        return recorded;
    }

    private static async Task<bool> IsToleratedAsync(Func<TpmClient, Task> ask, byte[] response)
    {
        try
        {
            await using var tpm = new TpmClient(new CannedTpm(response), ImpatientTime.Instance);
            await ask(tpm);
        }
        catch (Exception e) when (e is TpmFormatException or TpmRefusedException or TpmDeviceException)
        {
            // what a client may say
        }

        return true;
    }

    private sealed class Tape(ITpmDevice device) : ITpmDevice
    {
        public byte[] Last { get; private set; } = [];

        public async ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
        {
            Last = (await device.SendAsync(command, cancel)).ToArray();
            return Last;
        }

        public ValueTask DisposeAsync() => device.DisposeAsync();
    }
}

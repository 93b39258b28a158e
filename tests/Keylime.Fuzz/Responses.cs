using System.Buffers;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Fuzz;

/// <summary>A TPM that answers every command with the same bytes: whatever they are, the client says what it read, or that it is none.</summary>
internal static class Responses
{
    private const ushort NoSessions = 0x8001;
    private const ushort Sessions = 0x8002;

    private static readonly PcrSelection Pcrs = new(TpmAlgorithm.Sha256, PcrSet.Of(0, 7));
    private static readonly LoadedKey Key = new(0x80000000, KeyTemplates.AkEccP256(), new byte[34]);

    public static async Task Answer(byte[] bytes)
    {
        await using var tpm = new TpmClient(new CannedTpm(bytes), ImpatientTime.Instance);
        Func<Task>[] questions =
        [
            async () => await tpm.GetRandomAsync(16, default),
            async () => await tpm.GetPropertyAsync(0x100, default),
            async () => await tpm.GetPcrBanksAsync(default),
            async () => await tpm.GetAlgorithmsAsync(default),
            async () => await tpm.GetCurvesAsync(default),
            async () => await tpm.GetHandlesAsync(0x80000000, default),
            async () => await tpm.PcrReadAsync(Pcrs, default),
            async () => await tpm.ReadPublicAsync(0x80000000, default),
            async () => await tpm.CreatePrimaryAsync(TpmClient.Owner, KeyTemplates.AkEccP256(), default),
            async () => await tpm.NvReadPublicAsync(0x01C00002, default),
            async () => await tpm.ReadCertificatesAsync(0x01C00002, default),
            async () => await tpm.QuoteAsync(0x80000000, new byte[32], Pcrs, default),
            async () => await tpm.CertifyAsync(0x80000000, 0x80000000, new byte[32], default),
            async () => await tpm.LoadExternalAsync(KeyTemplates.AkEccP256(), default),
            async () => await tpm.SaveContextAsync(0x80000000, default),
            async () => await tpm.CreateUnderEndorsementKeyAsync(Key, KeyTemplates.AkEccP256(), default),
            async () => await tpm.FlushLeftoversAsync(default),
        ];
        foreach (var ask in questions)
        {
            try
            {
                await ask();
            }
            catch (Exception e) when (e is TpmFormatException or TpmRefusedException or TpmDeviceException)
            {
                // what a client may say
            }
        }
    }

    public static IEnumerable<byte[]> Seeds(byte[] key, byte[] message, byte[] signature)
    {
        byte[] name = [0, 34, .. new byte[34]];
        byte[] statement = [(byte)(message.Length >> 8), (byte)(message.Length & 0xFF), .. message, .. signature];
        yield return Frame(NoSessions, Convert.FromHexString("0010" + new string('a', 32)));                           // random
        yield return Frame(NoSessions, Convert.FromHexString("00" + "00000001" + "00000002" + "80000000" + "80000001")); // handles
        yield return Frame(NoSessions, Convert.FromHexString("01" + "00000000" + "00000001" + "0004" + "00000004"));     // algorithms
        yield return Frame(NoSessions, Convert.FromHexString("00" + "00000005" + "00000001" + "000b" + "03" + "ffffff")); // banks
        yield return Frame(NoSessions, Convert.FromHexString("00" + "00000006" + "00000001" + "00000100" + "322e3000")); // properties
        yield return Frame(NoSessions, Convert.FromHexString("00" + "00000008" + "00000001" + "0003"));                  // curves
        yield return Frame(NoSessions, Convert.FromHexString("00000001" + "00000001" + "000b" + "03" + "810000" + "00000002" + string.Concat(Enumerable.Repeat("0020" + new string('b', 64), 2)))); // PCRs
        yield return Frame(NoSessions, [.. key, .. name, .. name]);                                                    // a public area
        yield return Frame(NoSessions, Convert.FromHexString("000e" + "01c00002" + "000b" + "62072001" + "0000" + "0400" + "0022" + new string('c', 68))); // an NV index
        yield return Frame(Sessions, [0, 0, (byte)(statement.Length >> 8), (byte)(statement.Length & 0xFF), .. statement, 0, 0, 1, 0, 0]); // a quote
        yield return [.. Convert.FromHexString("8001" + "0000000a" + "0000018b")];                                       // a refusal
        yield return [.. Convert.FromHexString("8001" + "0000000a" + "00000922")];                                       // a busy TPM
    }

    private static byte[] Frame(ushort tag, byte[] body)
    {
        var output = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(output);
        writer.WriteUInt16(tag);
        writer.WriteUInt32((uint)(10 + body.Length));
        writer.WriteUInt32(0);
        writer.WriteBytes(body);
        return output.WrittenSpan.ToArray();
    }
}

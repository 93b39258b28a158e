using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Keylime.Tpm;

namespace Keylime.Vm.Tests;

/// <summary>
/// Writes down what a machine can prove at this moment, in the form of a case of <c>tests/evidence</c>: a quote by a key of its own, both
/// measurement lists, the firmware's event log. Only where <c>./test-vm --record</c> said into which folder.
/// </summary>
internal static class Recording
{
    private const string Folder = "KEYLIME_VM_RECORD";
    private const string Ima = "/sys/kernel/security/ima";

    private static readonly PcrSelection Asked = new(TpmAlgorithm.Sha256, PcrSet.Of([.. Enumerable.Range(0, 16)]));

    public static async Task WriteAsync(VirtualMachine machine, string name, CancellationToken cancel)
    {
        if (Environment.GetEnvironmentVariable(Folder) is not { Length: > 0 } into)
            return;

        var folder = Directory.CreateDirectory(Path.Combine(into, name)).FullName;
        Task SaveAsync(string file, ReadOnlyMemory<byte> content) => File.WriteAllBytesAsync(Path.Combine(folder, file), content, cancel);

        var nonce = RandomNumberGenerator.GetBytes(16);
        await using (var tpm = new TpmClient(new GuestTpm(machine)))
        {
            var ek = await tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, cancel);
            var (area, @private) = await tpm.CreateUnderEndorsementKeyAsync(ek, KeyTemplates.AkEccP256(), cancel);
            var ak = await tpm.LoadUnderEndorsementKeyAsync(ek, area, @private, cancel);
            var (quote, pcrs) = await tpm.QuoteWithPcrsAsync(ak.Handle, nonce, Asked, cancel);
            await SaveAsync("ak.pub", area.Encode());
            await SaveAsync("message", quote.Message);
            await SaveAsync("signature", quote.Signature);
            await SaveAsync("pcrs", pcrs.Encode());
            await File.WriteAllLinesAsync(
                Path.Combine(folder, "pcr-values"), pcrs.Values.Select((v, i) => string.Create(CultureInfo.InvariantCulture, $"{i,2} {Convert.ToHexStringLower(v.Span)}")), cancel);
        }

        await SaveAsync("list", await machine.ReadFileAsync($"{Ima}/ascii_runtime_measurements", cancel));
        await SaveAsync("list.binary", await machine.ReadFileAsync($"{Ima}/binary_runtime_measurements", cancel));
        await SaveAsync("bootlog", await machine.ReadFileAsync(Bench.BootLogPath, cancel));
        var said = new JsonObject
        {
            ["nonce"] = Convert.ToHexStringLower(nonce),
            ["bank"] = "sha256",
            ["pcrs"] = new JsonArray([.. Enumerable.Range(0, 16).Select(i => (JsonNode)i)]),
            ["expect"] = "pass",
        };
        await File.WriteAllTextAsync(Path.Combine(folder, "case.json"), said.ToJsonString(new() { WriteIndented = true }) + "\n", cancel);
    }
}

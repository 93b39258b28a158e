using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Boots of a machine as <see cref="BootLogBuilder.Debian"/> writes them, proven by a quote, and policies that fit them.</summary>
internal static class Boots
{
    public const string Shim = "605dab50-e046-4300-abb6-3dd810dd8b23";

    public static BootLogBuilder Debian(params ReadOnlySpan<TpmAlgorithm> banks) => BootLogBuilder.Debian(banks.IsEmpty ? [TpmAlgorithm.Sha256] : [.. banks]);

    public static string Sha256(ReadOnlySpan<byte> data) => Convert.ToHexStringLower(SHA256.HashData(data));

    public static string Digest(string measured) => $"sha256:{Sha256(Encoding.UTF8.GetBytes(measured))}";

    public static BootLog Parse(BootLogBuilder log)
    {
        Assert.True(BootLog.TryParse(log.Build(), out var parsed, out var error), error);
        return parsed;
    }

    /// <summary>The log as the quote of a TPM proves it that was extended with all of it.</summary>
    public static ReplayedBootLog Prove(BootLogBuilder log, PcrSet pcrs, TpmAlgorithm bank = TpmAlgorithm.Sha256) =>
        Assert.IsType<BootReplayResult.Proven>(BootReplay.Replay(Parse(log), log.Prove(bank, pcrs), pcrs)).Log;

    public static BootPolicy Policy(JsonNode text) => Policy(Encoding.UTF8.GetBytes(text.ToJsonString()));

    public static BootPolicy Policy(ReadOnlyMemory<byte> text)
    {
        Assert.True(BootPolicy.TryParse(text, out var policy, out var error), error);
        return policy;
    }

    public static BootAppraisal Appraise(BootPolicy policy, BootLogBuilder log, TpmAlgorithm bank = TpmAlgorithm.Sha256) => policy.Appraise(Prove(log, policy.Pcrs, bank));

    public static BootAppraisal Appraise(JsonNode policy, BootLogBuilder log) => Appraise(Policy(policy), log);

    public static void Passes(JsonNode policy, BootLogBuilder log)
    {
        var appraisal = Appraise(policy, log);
        Assert.True(appraisal.Pass, string.Join('\n', appraisal.Findings.Select(static f => f.Detail)));
        Assert.Empty(appraisal.Findings);
    }

    /// <summary>The first finding, which is about the first divergent event.</summary>
    public static Finding Fails(JsonNode policy, BootLogBuilder log, string code)
    {
        var appraisal = Appraise(policy, log);
        Assert.False(appraisal.Pass);
        Assert.Contains(appraisal.Findings, f => f.Code == code);
        return appraisal.Findings.First(f => f.Code == code);
    }

    /// <summary>The place of the first event of this PCR and type.</summary>
    public static int Find(BootLogBuilder log, int pcr, uint type, int skip = 0) =>
        log.Events.Index().Where(e => e.Item.Pcr == pcr && e.Item.Type == type).Skip(skip).First().Index;

    /// <summary>The place of the first event of this PCR whose data have these bytes.</summary>
    public static int Find(BootLogBuilder log, int pcr, string text, bool wide = false)
    {
        var wanted = wide ? Encoding.Unicode.GetBytes(text) : Encoding.UTF8.GetBytes(text);
        return log.Events.Index().First(e => e.Item.Pcr == pcr && e.Item.Data.AsSpan().IndexOf(wanted) >= 0).Index;
    }

    public static BootLogBuilder Change(this BootLogBuilder log, int index, Func<WrittenEvent, WrittenEvent> change)
    {
        log.Events[index] = change(log.Events[index]);
        return log;
    }

    public static BootLogBuilder Without(this BootLogBuilder log, int index)
    {
        log.Events.RemoveAt(index);
        return log;
    }

    /// <summary>What was added last, put somewhere else.</summary>
    public static BootLogBuilder MoveLastTo(this BootLogBuilder log, int index)
    {
        var last = log.Events[^1];
        log.Events.RemoveAt(log.Events.Count - 1);
        log.Events.Insert(index, last);
        return log;
    }

    /// <summary>Another value for a variable, measured as such.</summary>
    public static BootLogBuilder Set(this BootLogBuilder log, string variable, byte[] value, bool authority = false)
    {
        var index = log.Events.Index().First(e => e.Item.Pcr == 7
            && e.Item.Type == (authority ? BootEventTypes.VariableAuthority : BootEventTypes.VariableDriverConfig)
            && e.Item.Data.AsSpan(32).StartsWith(Encoding.Unicode.GetBytes(variable))
            && e.Item.Data[16] == variable.Length).Index;
        var old = log.Events[index];
        log.Add(7, old.Type, BootData.Variable(new Guid(old.Data.AsSpan(0, 16)), variable, value));
        log.Events[index] = log.Events[^1];
        log.Events.RemoveAt(log.Events.Count - 1);
        return log;
    }

    /// <summary>Upstream's reference state for <see cref="Debian"/>.</summary>
    public static JsonObject ReferenceState() => new()
    {
        ["has_secureboot"] = true,
        ["scrtm_and_bios"] = new JsonArray(new JsonObject
        {
            ["scrtm"] = Hashed(BootData.Utf16("1.0")),
            ["platform_firmware"] = new JsonArray(Hashed("firmware"u8)),
        }),
        ["pk"] = new JsonArray(Key("PK"u8)),
        ["kek"] = new JsonArray(Key("KEK"u8)),
        ["db"] = new JsonArray(Key("db"u8)),
        ["dbx"] = new JsonArray(Key(SHA256.HashData("bad 1"u8)), Key(SHA256.HashData("bad 2"u8))),
        ["vendor_db"] = new JsonArray(),
        ["mokdig"] = new JsonArray(Hashed(BootData.X509List("mok"u8))),
        ["mokxdig"] = new JsonArray(),
        ["kernels"] = new JsonArray(new JsonObject
        {
            ["shim_authcode_sha256"] = $"0x{Sha256("shim"u8)}",
            ["grub_authcode_sha256"] = $"0x{Sha256("grub"u8)}",
            ["kernel_authcode_sha256"] = $"0x{Sha256("kernel, Authenticode"u8)}",
            ["initrd_plain_sha256"] = $"0x{Sha256("initrd"u8)}",
            ["kernel_cmdline"] = "/vmlinuz root=/dev/vda2 quiet",
        }),
    };

    public static JsonObject Key(ReadOnlySpan<byte> data) => new()
    {
        ["SignatureOwner"] = BootData.Owner.ToString(),
        ["SignatureData"] = $"0x{Convert.ToHexStringLower(data)}",
    };

    public static JsonObject Hashed(ReadOnlySpan<byte> measured) => new() { ["sha256"] = $"0x{Sha256(measured)}" };

    /// <summary>Event rules for <see cref="Debian"/>.</summary>
    public static JsonObject EventRules() => JsonNode.Parse($$"""
        {
          "version": 1,
          "about": "Debian in tests",
          "pcrs": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14],
          "events": {
            "secure-boot": "on",
            "firmware": [{"name": "1.0", "versions": ["1.0"], "digests": ["{{Digest("firmware")}} the main volume"]}],
            "databases": {
              "PK": {"equal": ["x509:{{Sha256("PK"u8)}}"]},
              "KEK": {"at-most": ["x509:{{Sha256("KEK"u8)}}", "x509:{{Sha256("another KEK"u8)}}"]},
              "db": {"at-most": ["x509:{{Sha256("db"u8)}} Test CA"]},
              "dbx": {"at-least": ["{{Digest("bad 1")}}"]},
              "MokList": {"digests": ["sha256:{{Sha256(BootData.X509List("mok"u8))}}"]}
            },
            "variables": [
              {"variable": "SbatLevel-{{Shim}}", "values": ["{{Digest("sbat,1,2024010900\n")}} sbat,1,2024010900"]},
              {"variable": "Shim-{{Shim}}", "values": ["sha256:{{Sha256(BootData.Signature("vendor"u8))}}"]},
              {"variable": "MokListTrusted-{{Shim}}", "values": ["sha256:{{Sha256([1])}} on"], "required": false}
            ],
            "boot": [{
              "name": "Linux",
              "images": [
                {"role": "shim", "digests": ["{{Digest("shim")}}"]},
                {"role": "boot-loader", "digests": ["{{Digest("grub")}}"]},
                {"role": "kernel", "digests": ["{{Digest("kernel, Authenticode")}}"], "most": 2}
              ],
              "initrd": ["{{Digest("initrd")}} /initrd.img"],
              "kernel-file": ["{{Digest("kernel")}}"],
              "command-line": {"patterns": ["/vmlinuz root=/dev/vda[0-9] quiet"]}
            }],
            "loader-commands": {"texts": ["linux /vmlinuz root=/dev/vda2 quiet"]},
            "measured": [{"pcr": 2, "name": "option ROM", "digests": ["{{Digest("option ROM")}}"]}],
            "volatile": {
              "boot-order": "Operators change it.",
              "boot-entries": "Operators change them.",
              "handoff-tables": {"reason": "They have serial numbers.", "most": 1},
              "partition-table": "Each disk has its own GUIDs."
            }
          }
        }
        """)!.AsObject();
}

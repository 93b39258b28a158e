using System.Collections.Frozen;
using System.Globalization;

namespace Keylime.Agent;

/// <summary>
/// Gathers the options. Later goes before earlier: defaults, <c>/usr/etc/keylime/agent.conf</c> and <c>.d</c>, <c>/etc/keylime/agent.conf</c>
/// and <c>.d</c> (or the one file that <c>KEYLIME_AGENT_CONFIG</c> or <c>--config</c> names), <c>KEYLIME_AGENT_*</c>, flags.
/// </summary>
internal static class OptionsReader
{
    public const string Prefix = "KEYLIME_AGENT_";

    private static readonly FrozenDictionary<string, Func<AgentOptions, string, AgentOptions>> Known =
        new Dictionary<string, Func<AgentOptions, string, AgentOptions>>
        {
            ["uuid"] = static (o, v) => o with { Uuid = Uuid(v) },
            ["verifier_url"] = static (o, v) => o with { VerifierUrl = HttpUrl(v) },
            ["verifier_tls_ca_cert"] = static (o, v) => o with { VerifierTlsCaCert = v },
            ["registrar_ip"] = static (o, v) => o with { RegistrarIp = v },
            ["registrar_port"] = static (o, v) => o with { RegistrarPort = Number("registrar_port", v, 1, 65535) },
            ["registrar_tls_enabled"] = static (o, v) => o with { RegistrarTlsEnabled = YesNo("registrar_tls_enabled", v) },
            ["registrar_tls_port"] = static (o, v) => o with { RegistrarTlsPort = Number("registrar_tls_port", v, 1, 65535) },
            ["registrar_tls_ca_cert"] = static (o, v) => o with { RegistrarTlsCaCert = v },
            ["keylime_dir"] = static (o, v) => o with { KeylimeDir = v },
            ["agent_data_path"] = static (o, v) => o with { AgentDataPath = v is "default" ? "" : v },
            ["ima_ml_path"] = static (o, v) => v is "default" ? o : o with { ImaMlPath = v },
            ["measuredboot_ml_path"] = static (o, v) => v is "default" ? o : o with { MeasuredbootMlPath = v },
            ["tpm_encryption_alg"] = static (o, v) => o with
            {
                TpmEncryptionAlg = OneOf("tpm_encryption_alg", v, "rsa", "rsa2048", "rsa3072", "ecc", "ecc256", "ecc384", "ecc521") switch { "rsa2048" => "rsa", "ecc256" => "ecc", var other => other },
            },
            ["tpm_ek_profile"] = static (o, v) => o with { TpmEkProfile = OneOf("tpm_ek_profile", v, [.. Keylime.Tpm.KeyTemplates.EndorsementKeys.Select(static p => p.Name)]) },
            ["tpm_hash_alg"] = static (o, v) => o with { TpmHashAlg = OneOf("tpm_hash_alg", v, "sha256", "sha384", "sha512") },
            ["tpm_signing_alg"] = static (o, v) => o with { TpmSigningAlg = OneOf("tpm_signing_alg", v, "rsassa", "rsapss", "ecdsa") },
            ["attestation_interval_seconds"] = static (o, v) => o with { AttestationIntervalSeconds = Number("attestation_interval_seconds", v, 1, 86_400) },
            ["exponential_backoff_initial_delay"] = static (o, v) => o with { ExponentialBackoffInitialDelay = Number("exponential_backoff_initial_delay", v, 1, 3_600_000) },
            ["exponential_backoff_max_delay"] = static (o, v) => o with { ExponentialBackoffMaxDelay = Number("exponential_backoff_max_delay", v, 1, 86_400_000) },
            ["contact_ip"] = static (o, v) => o with { ContactIp = v },
            ["contact_port"] = static (o, v) => o with { ContactPort = Number("contact_port", v, 1, 65535) },
            ["run_as"] = static (o, v) => o with { RunAs = v },
            ["payload_dir"] = static (o, v) => o with { PayloadDir = AbsolutePath("payload_dir", v) },
            ["tpm"] = static (o, v) => o with { Tpm = v },
            ["notice_key"] = static (o, v) => o with { NoticeKey = v },
            ["notice_actions_dir"] = static (o, v) => o with { NoticeActionsDir = v },
            ["tls_accept_invalid_certs"] = static (o, v) => Refused(o, "tls_accept_invalid_certs", v),
            ["tls_accept_invalid_hostnames"] = static (o, v) => Refused(o, "tls_accept_invalid_hostnames", v),
            ["enable_iak_idevid"] = static (o, v) => o with { EnableIakIdevid = YesNo("enable_iak_idevid", v) },
            ["iak_idevid_template"] = static (o, v) => v is "" or "default" or "detect" ? o : o with { IakIdevidTemplate = OneOf("iak_idevid_template", v, "H-1", "H-2", "H-3", "H-4") },
            ["iak_cert"] = static (o, v) => v is "" or "default" ? o : o with { IakCert = v },
            ["idevid_cert"] = static (o, v) => v is "" or "default" ? o : o with { IdevidCert = v },
            ["iak_handle"] = static (o, v) => o with { IakHandle = Handle("iak_handle", v) },
            ["idevid_handle"] = static (o, v) => o with { IdevidHandle = Handle("idevid_handle", v) },
        }.ToFrozenDictionary();

    /// <summary>The options' names as flags, for the help text.</summary>
    public static IEnumerable<string> Flags => Known.Keys.Order(StringComparer.Ordinal).Select(static k => "--" + k.Replace('_', '-'));

    /// <exception cref="OptionsException">A value that cannot be, or a file that cannot be read.</exception>
    public static AgentOptions Read(IReadOnlyList<(string Name, string Value)> flags, Func<string, string?> environment, string root = "/")
    {
        var options = new AgentOptions();
        var named = flags.LastOrDefault(static f => f.Name == "config").Value ?? environment(Prefix + "CONFIG");
        foreach (var file in named is null ? StandardFiles(root) : [named])
            options = ReadFile(options, file, mustExist: named is not null);

        foreach (var (name, apply) in Known)
        {
            if (environment(Prefix + name.ToUpperInvariant()) is { } value)
                options = apply(options, value);
        }

        if (environment("KEYLIME_DIR") is { Length: > 0 } directory)
            options = options with { KeylimeDir = directory };
        if (options.Tpm.Length == 0 && environment("TCTI") is { Length: > 0 } tcti)
            options = options with { Tpm = tcti };

        foreach (var (name, value) in flags.Where(static f => f.Name != "config"))
        {
            if (!Known.TryGetValue(name.Replace('-', '_'), out var apply))
                throw new OptionsException($"--{name} is no option of this agent.", "keylime-agent --help lists them");
            options = apply(options, value);
        }

        return Checked(options);
    }

    private static AgentOptions Checked(AgentOptions options)
    {
        var signing = options.TpmSigningAlg.Length > 0 ? options.TpmSigningAlg : options.IsEcc ? "ecdsa" : "rsassa";
        if (signing == "ecdsa" != options.IsEcc)
            throw new OptionsException($"tpm_signing_alg '{signing}' does not go with tpm_encryption_alg '{options.TpmEncryptionAlg}'.", "rsassa and rsapss go with rsa, ecdsa with ecc");
        if (!Directory.Exists(options.KeylimeDir))
            throw new OptionsException($"keylime_dir '{options.KeylimeDir}' is no folder.", "make it, owned by who the agent runs as, mode 0700");
        if (options.NoticeActionsDir.Length > 0 && !Path.IsPathRooted(options.NoticeActionsDir))
            throw new OptionsException($"notice_actions_dir '{options.NoticeActionsDir}' is not absolute.", "/etc/keylime/actions, for example");
        if (options.NoticeActionsDir.Length > 0 && options.NoticeKey.Length == 0)
            throw new OptionsException("notice_actions_dir is set, and notice_key is not: no notice would be believed.", "'keylime notice key' prints the key; notice_key names the file that holds it");
        return options with { TpmSigningAlg = signing };
    }

    private static IEnumerable<string> StandardFiles(string root)
    {
        foreach (var folder in (string[])["usr/etc/keylime", "etc/keylime"])
        {
            var file = Path.Combine(root, folder, "agent.conf");
            yield return file;
            if (Directory.Exists(file + ".d"))
            {
                foreach (var part in Directory.EnumerateFiles(file + ".d").Order(StringComparer.Ordinal))
                    yield return part;
            }
        }
    }

    private static AgentOptions ReadFile(AgentOptions options, string file, bool mustExist)
    {
        if (!File.Exists(file))
        {
            return mustExist
                ? throw new OptionsException($"The configuration file '{file}' is not there.", $"{Prefix}CONFIG and --config name one file")
                : options;
        }

        // Unknown names are passed over: upstream's agents share the file.
        foreach (var (name, value) in TomlTable.Read(File.ReadLines(file), "agent", file))
        {
            if (Known.TryGetValue(name, out var apply))
                options = apply(options, value);
        }

        return options;
    }

    private static string Uuid(string value) =>
        value is "generate" or "hash_ek" || Protocol.AgentId.TryParse(value, null, out _)
            ? value
            : throw new OptionsException("uuid: not an agent id.", "generate, hash_ek, or 1 to 80 of A-Z a-z 0-9 _ . - are expected");

    private static Uri HttpUrl(string value) =>
        Uri.TryCreate(value, UriKind.Absolute, out var url) && url.Scheme is "https" or "http" && url is { PathAndQuery: "/", UserInfo: "" }
            ? url
            : throw new OptionsException($"verifier_url: {(value.Contains('@', StringComparison.Ordinal) ? "what is set" : $"'{value}'")} is no URL of a service.", "https://host:8881, without a path, is expected");

    private static int Number(string name, string value, int least, int most) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most
            ? number
            : throw new OptionsException($"{name}: '{value}' is no number from {least} to {most}.", "it is a whole number, without a unit");

    private static string AbsolutePath(string name, string value) =>
        value.Length == 0 || Path.IsPathRooted(value) ? value : throw new OptionsException($"{name}: '{value}' is no absolute path.", "for example /run/keylime/payloads; empty for none");

    private static uint Handle(string name, string value)
    {
        const uint first = 0x81000000;
        const uint last = 0x81FFFFFF;
        if (value.Length == 0)
            return 0;
        var hex = value.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? value[2..] : value;
        return uint.TryParse(hex, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var handle) && handle is >= first and <= last
            ? handle
            : throw new OptionsException($"{name}: '{value}' is no persistent handle.", "0x81000000 to 0x81ffffff, in hex, is expected");
    }

    private static bool YesNo(string name, string value) =>
        OneOf(name, value.ToLowerInvariant(), "true", "false") == "true";

    private static string OneOf(string name, string value, params string[] allowed) =>
        allowed.Contains(value) ? value : throw new OptionsException($"{name}: '{value}' is none of {string.Join(", ", allowed)}.", "see agent.conf");

    private static AgentOptions Refused(AgentOptions options, string name, string value) =>
        YesNo(name, value)
            ? throw new OptionsException($"{name}: this agent checks certificates always.", "give the service's CA as verifier_tls_ca_cert")
            : options;
}

namespace Keylime.Agent;

/// <summary>What the agent is told: upstream's options that apply to a pushing agent, and a few of ours.</summary>
/// <remarks>Names are those of <c>agent.conf</c>; <see cref="OptionsReader"/> knows where they come from.</remarks>
internal sealed record AgentOptions
{
    public string Uuid { get; init; } = "hash_ek";

    public Uri VerifierUrl { get; init; } = new("https://localhost:8881");

    /// <summary>PEM; empty for <c>cv_ca/cacert.crt</c> below <see cref="KeylimeDir"/>.</summary>
    public string VerifierTlsCaCert { get; init; } = "";

    /// <summary>Empty where the registrar is at <see cref="VerifierUrl"/>, as with our service.</summary>
    public string RegistrarIp { get; init; } = "";

    public int RegistrarPort { get; init; } = 8890;

    public bool RegistrarTlsEnabled { get; init; }

    public int RegistrarTlsPort { get; init; } = 8891;

    public string RegistrarTlsCaCert { get; init; } = "";

    public string KeylimeDir { get; init; } = "/var/lib/keylime";

    public string AgentDataPath { get; init; } = "";

    public string ImaMlPath { get; init; } = "/sys/kernel/security/ima/ascii_runtime_measurements";

    public string MeasuredbootMlPath { get; init; } = "/sys/kernel/security/tpm0/binary_bios_measurements";

    /// <summary>Of the attestation key: <c>rsa</c> (2048), <c>rsa3072</c>, <c>ecc</c> (P-256), <c>ecc384</c> or <c>ecc521</c>.</summary>
    public string TpmEncryptionAlg { get; init; } = "rsa";

    public bool IsEcc => TpmEncryptionAlg.StartsWith("ecc", StringComparison.Ordinal);

    /// <summary>The endorsement key, by its name in TCG's profile (<c>L-1</c> … <c>H-7</c>); empty for the first of the attestation key's kind that has a certificate.</summary>
    public string TpmEkProfile { get; init; } = "";

    /// <summary>Whether to be known by the device's IAK and IDevID too.</summary>
    public bool EnableIakIdevid { get; init; }

    /// <summary><c>H-1</c> to <c>H-4</c>.</summary>
    public string IakIdevidTemplate { get; init; } = "H-1";

    /// <summary>Files, PEM or DER.</summary>
    public string IakCert { get; init; } = "iak-cert.crt";

    public string IdevidCert { get; init; } = "idevid-cert.crt";

    /// <summary>Persistent handles; 0 to make the keys from their templates.</summary>
    public uint IakHandle { get; init; }

    public uint IdevidHandle { get; init; }

    public string TpmHashAlg { get; init; } = "sha256";

    /// <summary><c>rsassa</c>, <c>rsapss</c> or <c>ecdsa</c>; empty for what goes with the encryption algorithm.</summary>
    public string TpmSigningAlg { get; init; } = "";

    /// <summary>In seconds; what the service says goes before it.</summary>
    public int AttestationIntervalSeconds { get; init; } = 60;

    /// <summary>In milliseconds.</summary>
    public int ExponentialBackoffInitialDelay { get; init; } = 10_000;

    /// <summary>In milliseconds.</summary>
    public int ExponentialBackoffMaxDelay { get; init; } = 300_000;

    public string ContactIp { get; init; } = "127.0.0.1";

    public int ContactPort { get; init; } = 9002;

    /// <summary><c>user:group</c>; empty to stay who one is.</summary>
    public string RunAs { get; init; } = "";

    /// <summary>Where payloads are put, on a tmpfs; empty to take none.</summary>
    public string PayloadDir { get; init; } = "";

    /// <summary>See <see cref="Tpm.TpmDevices.Open"/>.</summary>
    public string Tpm { get; init; } = "";

    /// <summary>PEM: the keys whose notices of other machines count; empty to ask for none.</summary>
    public string NoticeKey { get; init; } = "";

    /// <summary>The folder of local actions, absolute; empty for none.</summary>
    public string NoticeActionsDir { get; init; } = "";

    public string NoticeKeyPath => Path.Combine(KeylimeDir, NoticeKey);

    public string NoticeCursorPath => Path.Combine(KeylimeDir, "notices.json");

    public string DataPath => Path.Combine(KeylimeDir, AgentDataPath.Length > 0 ? AgentDataPath : "agent_data.json");

    public string UuidPath => Path.Combine(KeylimeDir, "agent_uuid");

    public string VerifierCa => CaPath(VerifierTlsCaCert);

    public string RegistrarCa => RegistrarIp.Length == 0 ? VerifierCa : CaPath(RegistrarTlsCaCert);

    /// <summary>Where the registrar is.</summary>
    public Uri RegistrarUrl => RegistrarIp.Length == 0
        ? VerifierUrl
        : new UriBuilder(RegistrarTlsEnabled ? "https" : "http", RegistrarIp, RegistrarTlsEnabled ? RegistrarTlsPort : RegistrarPort).Uri;

    private string CaPath(string value) => Path.Combine(KeylimeDir, value is "" or "default" ? "cv_ca/cacert.crt" : value);
}

/// <summary>An option that cannot be: what, where, what was expected.</summary>
internal sealed class OptionsException(string message, string hint) : Exception(message)
{
    public string Hint { get; } = hint;
}

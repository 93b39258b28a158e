using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>The keys of this machine, in its TPM: the attestation key stays loaded, the endorsement key is made when it is needed.</summary>
internal sealed class MachineKeys
{
    private readonly TpmClient _tpm;
    private readonly PublicArea _ekTemplate;
    private LoadedKey? _endorsementKey;

    private MachineKeys(TpmClient tpm, PublicArea ekTemplate) => (_tpm, _ekTemplate) = (tpm, ekTemplate);

    /// <summary>The attestation key.</summary>
    public LoadedKey AttestationKey { get; private set; } = null!; // set by OpenAsync, the only maker

    /// <summary>Hex SHA-256 over the PEM of the endorsement key: upstream's <c>hash_ek</c>.</summary>
    public string EkHash { get; private set; } = "";

    /// <summary>Loads the attestation key that the data file holds, or makes one and writes it there.</summary>
    public static async Task<MachineKeys> OpenAsync(TpmClient tpm, AgentOptions options, CancellationToken cancel)
    {
        var ecc = options.TpmEncryptionAlg == "ecc";
        var keys = new MachineKeys(tpm, ecc ? KeyTemplates.EkEccP256 : KeyTemplates.EkRsa2048);
        _ = TpmAlgorithms.TryFromProtocolName(options.TpmHashAlg, out var hash);
        _ = TpmAlgorithms.TryFromProtocolName(options.TpmSigningAlg, out var scheme);
        var template = ecc ? KeyTemplates.AkEccP256(hash) : KeyTemplates.AkRsa2048(scheme, hash);

        var ek = await keys.GetEndorsementKeyAsync(cancel);
        keys.EkHash = HashOf(ek.Public);
        keys.AttestationKey = await keys.LoadAsync(ek, template.Scheme, options.DataPath, cancel)
            ?? await keys.CreateAsync(ek, template, options.DataPath, cancel);
        return keys;
    }

    public async Task<LoadedKey> GetEndorsementKeyAsync(CancellationToken cancel) =>
        _endorsementKey ??= await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, _ekTemplate, cancel);

    /// <summary>Frees the TPM of the endorsement key: a TPM has room for three keys, and others want some.</summary>
    public async Task ReleaseEndorsementKeyAsync(CancellationToken cancel)
    {
        if (_endorsementKey is not { } key)
            return;
        _endorsementKey = null;
        await _tpm.FlushContextAsync(key.Handle, cancel);
    }

    /// <summary>The endorsement key's certificate and what stands above it, as PEM, the key's own first; empty where the TPM has none.</summary>
    public async Task<string> ReadCertificatesAsync(CancellationToken cancel)
    {
        var own = _ekTemplate.Type == TpmAlgorithm.Ecc ? KeyTemplates.EccCertificateIndex : KeyTemplates.RsaCertificateIndex;
        var defined = await _tpm.GetNvIndicesAsync(cancel);
        var wanted = defined.Where(i => i == own)
            .Concat(defined.Where(static i => i is >= KeyTemplates.ChainFirstIndex and <= KeyTemplates.ChainLastIndex).OrderDescending());
        var text = new StringBuilder();
        foreach (var index in wanted)
        {
            var area = await _tpm.NvReadPublicAsync(index, cancel);
            if (area.Written && Der.Trim(await _tpm.NvReadAsync(area, cancel)) is { Length: > 0 } der)
                text.Append(PemEncoding.Write("CERTIFICATE", der)).Append('\n');
        }

        return text.ToString();
    }

    private static string HashOf(PublicArea ek)
    {
        string pem;
        switch (ek)
        {
            case PublicArea.Rsa rsa:
                using (var key = rsa.CreateKey())
                    pem = key.ExportSubjectPublicKeyInfoPem();
                break;
            case PublicArea.Ecc ecc:
                using (var key = ECDsa.Create(ecc.ToParameters()))
                    pem = key.ExportSubjectPublicKeyInfoPem();
                break;
            default:
                throw new System.Diagnostics.UnreachableException();
        }

        // Upstream hashes the PEM with its last line feed.
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(pem + '\n')));
    }

    private async Task<LoadedKey?> LoadAsync(LoadedKey ek, KeyScheme scheme, string path, CancellationToken cancel)
    {
        if (AgentData.Load(path) is not { } data)
            return null;

        if (!data.Fits(scheme, EkHash) || !data.TryRead(out var area, out var @private))
        {
            Log.Warning($"The attestation key in {path} is of another TPM, or of other algorithms; another one is made.");
            return null;
        }

        try
        {
            return await _tpm.LoadUnderEndorsementKeyAsync(ek, area!, @private, cancel);
        }
        catch (TpmRefusedException e) when (!e.Code.IsTransient)
        {
            Log.Warning($"The attestation key in {path} cannot be loaded: {e.Message} Another one is made.");
            return null;
        }
    }

    private async Task<LoadedKey> CreateAsync(LoadedKey ek, PublicArea template, string path, CancellationToken cancel)
    {
        var (area, @private) = await _tpm.CreateUnderEndorsementKeyAsync(ek, template, cancel);
        AgentData.Create(template.Scheme, area, @private.Span, EkHash).Save(path);
        Log.Info($"Made an attestation key; it is kept in {path}, wrapped by the TPM.");
        return await _tpm.LoadUnderEndorsementKeyAsync(ek, area, @private, cancel);
    }
}

/// <summary>NV areas are often larger than the certificate in them.</summary>
internal static class Der
{
    /// <summary>The one DER value at the start, without the padding behind it; empty if there is none.</summary>
    public static byte[] Trim(byte[] data)
    {
        const byte sequence = 0x30;
        if (data is not [sequence, var first, ..])
            return [];

        var octets = first < 0x80 ? 0 : first & 0x7F;
        if (octets > 3 || data.Length < 2 + octets)
            return [];

        var length = octets == 0 ? first : 0;
        foreach (var octet in data.AsSpan(2, octets))
            length = length << 8 | octet;
        return 2 + octets + length <= data.Length ? data[..(2 + octets + length)] : [];
    }
}

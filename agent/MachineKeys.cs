using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>The keys of this machine, in its TPM: the attestation key stays loaded, the endorsement key is made when it is needed.</summary>
internal sealed class MachineKeys
{
    private readonly TpmClient _tpm;
    private readonly AgentOptions _options;
    private LoadedKey? _endorsementKey;

    private MachineKeys(TpmClient tpm, AgentOptions options, EndorsementKeyProfile profile) => (_tpm, _options, Profile) = (tpm, options, profile);

    /// <summary>Which of the profile's endorsement keys this machine is known by.</summary>
    public EndorsementKeyProfile Profile { get; }

    /// <summary>The attestation key.</summary>
    public LoadedKey AttestationKey { get; private set; } = null!; // OpenAsync sets it, or whoever needs it loads it

    /// <summary>Hex SHA-256 over the PEM of the endorsement key: upstream's <c>hash_ek</c>.</summary>
    public string EkHash { get; private set; } = "";

    /// <summary>Loads the attestation key that the data file holds, or makes one and writes it there.</summary>
    public static async Task<MachineKeys> OpenAsync(TpmClient tpm, AgentOptions options, CancellationToken cancel)
    {
        var keys = await OpenEndorsementAsync(tpm, options, cancel);
        if (!await keys.TryLoadAttestationKeyAsync(cancel))
            keys.AttestationKey = await keys.CreateAsync(await keys.GetEndorsementKeyAsync(cancel), TemplateOf(options), options.DataPath, cancel);
        return keys;
    }

    /// <summary>The endorsement key alone: there is no <see cref="AttestationKey"/> yet.</summary>
    public static async Task<MachineKeys> OpenEndorsementAsync(TpmClient tpm, AgentOptions options, CancellationToken cancel)
    {
        var keys = new MachineKeys(tpm, options, await ChooseAsync(tpm, options, cancel));
        keys.EkHash = HashOf((await keys.GetEndorsementKeyAsync(cancel)).Public);
        return keys;
    }

    /// <summary>Loads the attestation key that the data file holds.</summary>
    /// <returns><see langword="false"/> where it holds none of this TPM and these options.</returns>
    public async Task<bool> TryLoadAttestationKeyAsync(CancellationToken cancel)
    {
        if (await LoadAsync(await GetEndorsementKeyAsync(cancel), TemplateOf(_options), _options.DataPath, cancel) is not { } key)
            return false;
        AttestationKey = key;
        return true;
    }

    public async Task<LoadedKey> GetEndorsementKeyAsync(CancellationToken cancel) =>
        _endorsementKey ??= await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, Profile.Template, cancel);

    /// <summary>Frees the TPM of the endorsement key: a TPM has room for three keys, and others want some.</summary>
    public async Task ReleaseEndorsementKeyAsync(CancellationToken cancel)
    {
        if (_endorsementKey is not { } key)
            return;
        _endorsementKey = null;
        await _tpm.FlushContextAsync(key.Handle, cancel);
    }

    /// <summary>Frees the TPM of both keys.</summary>
    public async Task ReleaseAsync(CancellationToken cancel)
    {
        await ReleaseEndorsementKeyAsync(cancel);
        if (AttestationKey is { } key)
            await _tpm.FlushContextAsync(key.Handle, cancel);
    }

    /// <summary>The endorsement key's certificate and what stands above it, as PEM, the key's own first; empty where the TPM has none.</summary>
    public async Task<string> ReadCertificatesAsync(CancellationToken cancel)
    {
        var text = new StringBuilder();
        try
        {
            foreach (var der in await _tpm.ReadCertificatesAsync(Profile.CertificateIndex, cancel))
                text.Append(PemEncoding.Write("CERTIFICATE", der.Span)).Append('\n');
            foreach (var der in await _tpm.ReadEndorsementChainAsync(cancel))
                text.Append(PemEncoding.Write("CERTIFICATE", der.Span)).Append('\n');
        }
        catch (Exception e) when (e is TpmFormatException or TpmRefusedException { Code.IsTransient: false })
        {
            Log.Warning($"A certificate of the TPM cannot be read: {e.Message}"); // some virtual TPMs let nobody read theirs
        }

        return text.ToString();
    }

    /// <summary>
    /// The key that has a certificate, of the kind that the options want, or else of the other: what vouches for the TPM counts more than how its key
    /// computes. Without any, the one that every TPM has.
    /// </summary>
    private static async Task<EndorsementKeyProfile> ChooseAsync(TpmClient tpm, AgentOptions options, CancellationToken cancel)
    {
        if (options.TpmEkProfile.Length > 0)
            return KeyTemplates.EndorsementKeys.First(p => p.Name == options.TpmEkProfile);

        var type = options.IsEcc ? TpmAlgorithm.Ecc : TpmAlgorithm.Rsa;
        var wantedFirst = KeyTemplates.EndorsementKeys.OrderBy(p => p.Template.Type == type ? 0 : 1).ToArray(); // a stable order
        var defined = await tpm.GetNvIndicesAsync(cancel);
        foreach (var profile in wantedFirst.Where(p => defined.Contains(p.CertificateIndex)))
        {
            if ((await tpm.NvReadPublicAsync(profile.CertificateIndex, cancel)).Written)
                return profile;
        }

        return wantedFirst[0];
    }

    private static PublicArea TemplateOf(AgentOptions options)
    {
        _ = TpmAlgorithms.TryFromProtocolName(options.TpmHashAlg, out var hash);
        _ = TpmAlgorithms.TryFromProtocolName(options.TpmSigningAlg, out var scheme);
        return options.TpmEncryptionAlg switch
        {
            "ecc" => KeyTemplates.AkEcc(TpmCurve.NistP256, hash),
            "ecc384" => KeyTemplates.AkEcc(TpmCurve.NistP384, hash),
            "ecc521" => KeyTemplates.AkEcc(TpmCurve.NistP521, hash),
            "rsa3072" => KeyTemplates.AkRsa(3072, scheme, hash),
            _ => KeyTemplates.AkRsa(2048, scheme, hash),
        };
    }

    // Upstream hashes the PEM with its last line feed.
    private static string HashOf(PublicArea ek) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.ASCII.GetBytes(PemEncoding.WriteString("PUBLIC KEY", SpkiOf(ek)) + '\n')));

    /// <summary>SubjectPublicKeyInfo, DER.</summary>
    public static byte[] SpkiOf(PublicArea area)
    {
        switch (area)
        {
            case PublicArea.Rsa rsa:
                using (var key = rsa.CreateKey())
                    return key.ExportSubjectPublicKeyInfo();
            case PublicArea.Ecc ecc:
                using (var key = ECDsa.Create(ecc.ToParameters()))
                    return key.ExportSubjectPublicKeyInfo();
            default:
                throw new System.Diagnostics.UnreachableException();
        }
    }

    private async Task<LoadedKey?> LoadAsync(LoadedKey ek, PublicArea template, string path, CancellationToken cancel)
    {
        if (AgentData.Load(path) is not { } data)
            return null;

        if (!data.Fits(template.Scheme, EkHash) || !data.TryRead(out var area, out var @private) || !IsLike(area!, template))
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

    // The file does not say the size; the key does.
    private static bool IsLike(PublicArea area, PublicArea template) => (area, template) switch
    {
        (PublicArea.Rsa kept, PublicArea.Rsa wanted) => kept.KeyBits == wanted.KeyBits,
        (PublicArea.Ecc kept, PublicArea.Ecc wanted) => kept.Curve == wanted.Curve,
        _ => false,
    };

    private async Task<LoadedKey> CreateAsync(LoadedKey ek, PublicArea template, string path, CancellationToken cancel)
    {
        var (area, @private) = await _tpm.CreateUnderEndorsementKeyAsync(ek, template, cancel);
        AgentData.Create(template.Scheme, area, @private.Span, EkHash).Save(path);
        Log.Info($"Made an attestation key; it is kept in {path}, wrapped by the TPM.");
        return await _tpm.LoadUnderEndorsementKeyAsync(ek, area, @private, cancel);
    }
}

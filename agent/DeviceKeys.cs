using System.Security.Cryptography;
using System.Text;
using Keylime.Protocol;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>What the device's own keys say of the attestation key.</summary>
internal sealed record DeviceClaim(byte[] Iak, string IakCertificate, byte[] IDevId, string IDevIdCertificate, byte[] Message, byte[] Signature);

/// <summary>IAK and IDevID (TCG TPM 2.0 Keys for Device Identity and Attestation): made by the device's maker, certified by it, and always the same.</summary>
internal static class DeviceKeys
{
    private static readonly Version HashedId = new(2, 6);

    /// <summary>Has the IAK certify the attestation key for this id. One key at a time: a TPM has room for three.</summary>
    /// <param name="version">Of the registrar's API: since 2.6 the id is hashed.</param>
    /// <exception cref="OptionsException">A certificate is not there, or not for the key.</exception>
    public static async Task<DeviceClaim> ClaimAsync(TpmClient tpm, AgentOptions options, LoadedKey attestationKey, AgentId id, string version, CancellationToken cancel)
    {
        var name = Encoding.UTF8.GetBytes(id.ToString());
        var qualifying = Version.Parse(version) >= HashedId ? SHA256.HashData(name) : name;
        var iak = await OpenAsync(tpm, options.IakHandle, KeyTemplates.Iak(options.IakIdevidTemplate), cancel);
        SignedStatement statement;
        try
        {
            statement = await tpm.CertifyAsync(attestationKey.Handle, iak.Handle, qualifying, cancel);
        }
        finally
        {
            await CloseAsync(tpm, options.IakHandle, iak);
        }

        var idevid = await OpenAsync(tpm, options.IdevidHandle, KeyTemplates.IDevId(options.IakIdevidTemplate), cancel);
        await CloseAsync(tpm, options.IdevidHandle, idevid);
        return new DeviceClaim(
            iak.Public.EncodeSized(), ReadCertificate(Path.Combine(options.KeylimeDir, options.IakCert), "iak_cert"),
            idevid.Public.EncodeSized(), ReadCertificate(Path.Combine(options.KeylimeDir, options.IdevidCert), "idevid_cert"),
            statement.Message.ToArray(), statement.Signature.ToArray());
    }

    private static async Task<LoadedKey> OpenAsync(TpmClient tpm, uint handle, PublicArea template, CancellationToken cancel) =>
        handle != 0 ? await tpm.ReadPublicAsync(handle, cancel) with { Handle = handle } : await tpm.CreatePrimaryAsync(TpmClient.Endorsement, template, cancel);

    private static async Task CloseAsync(TpmClient tpm, uint handle, LoadedKey key)
    {
        if (handle == 0)
            await tpm.FlushContextAsync(key.Handle, CancellationToken.None);
    }

    private static string ReadCertificate(string path, string option)
    {
        if (!File.Exists(path))
            throw new OptionsException($"{option}: '{path}' is not there.", "the maker of the device gives it, PEM or DER; enable_iak_idevid = false does without");
        var bytes = File.ReadAllBytes(path);
        return bytes.AsSpan().IndexOf("-----BEGIN"u8) >= 0 ? Encoding.ASCII.GetString(bytes) : Convert.ToBase64String(bytes);
    }
}

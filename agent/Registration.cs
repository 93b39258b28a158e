using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>Makes the machine known to the registrar, and shows it that both keys are in one TPM.</summary>
internal sealed class Registration(ServiceClient registrar, AgentOptions options)
{
    // Newest first: what this agent speaks of the registrar's API.
    private static readonly string[] Versions = ["2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"];

    public async Task RegisterAsync(AgentId id, TpmClient tpm, MachineKeys keys, CancellationToken cancel)
    {
        var version = await ChooseVersionAsync(cancel);
        DeviceClaim? device = null;
        if (options.EnableIakIdevid)
        {
            await keys.ReleaseEndorsementKeyAsync(cancel);
            device = await DeviceKeys.ClaimAsync(tpm, options, keys.AttestationKey, id, version, cancel);
        }

        var ek = await keys.GetEndorsementKeyAsync(cancel);
        var path = $"v{version}/agents/{id}";
        var request = new RegisterRequest
        {
            EkTpm = ek.Public.EncodeSized(),
            AikTpm = keys.AttestationKey.Public.EncodeSized(),
            Ekcert = await keys.ReadCertificatesAsync(cancel),
            Ip = options.ContactIp,
            Port = JsonSerializer.SerializeToElement(options.ContactPort, PortJson.Default.Int32),
            MtlsCert = "disabled",
            IakTpm = device?.Iak,
            IakCert = device?.IakCertificate,
            IdevidTpm = device?.IDevId,
            IdevidCert = device?.IDevIdCertificate,
            IakAttest = device?.Message,
            IakSign = device?.Signature,
        };
        var answer = await registrar.SendAsync(
            HttpMethod.Post, path, ServiceClient.Json(request, UpstreamJson.Default.RegisterRequest, jsonApi: false), null, IsOk, cancel);
        var blob = ServiceClient.Read(answer, UpstreamJson.Default.EnvelopeRegisterResults, "registration").Results.Blob;

        var secret = await ActivateAsync(tpm, keys.AttestationKey, ek, blob, cancel);
        try
        {
            // The key is the base64 text of the secret, not the secret: so upstream's registrar has it.
            var tag = HMACSHA384.HashData(Encoding.ASCII.GetBytes(Convert.ToBase64String(secret)), Encoding.UTF8.GetBytes(id.ToString()));
            var activation = new ActivateRequest(Convert.ToHexStringLower(tag));
            await registrar.SendAsync(
                HttpMethod.Put, path, ServiceClient.Json(activation, UpstreamJson.Default.ActivateRequest, jsonApi: false), null, IsOk, cancel);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(secret);
        }

        await keys.ReleaseEndorsementKeyAsync(cancel);
        Log.Info($"Registered as {id} (API {version}); both keys are proven to be in this TPM.");
    }

    private static bool IsOk(HttpStatusCode status) => (int)status is >= 200 and < 300;

    private static async Task<byte[]> ActivateAsync(
        TpmClient tpm, LoadedKey attestationKey, LoadedKey endorsementKey, byte[] blob, CancellationToken cancel)
    {
        CredentialBlob credential;
        try
        {
            credential = CredentialBlob.Parse(blob);
        }
        catch (TpmFormatException e)
        {
            throw new ServiceRefusedException("registration", null, null, $"the credential cannot be read: {e.Message}");
        }

        return await tpm.ActivateCredentialAsync(attestationKey, endorsementKey, credential, cancel);
    }

    private async Task<string> ChooseVersionAsync(CancellationToken cancel)
    {
        try
        {
            var answer = await registrar.SendAsync(HttpMethod.Get, "version", null, null, IsOk, cancel);
            var versions = ServiceClient.Read(answer, UpstreamJson.Default.EnvelopeVersionResults, "version").Results;
            if (Versions.Contains(versions.CurrentVersion))
                return versions.CurrentVersion;
            return Versions.FirstOrDefault(versions.SupportedVersions.Contains)
                ?? throw new ServiceRefusedException("version", null, null, $"the registrar speaks {string.Join(", ", versions.SupportedVersions)}; this agent {Versions[^1]} to {Versions[0]}");
        }
        catch (ServiceRefusedException e) when (e.Status is HttpStatusCode.NotFound or HttpStatusCode.Gone)
        {
            return Versions[0]; // a registrar that does not say is taken for a current one
        }
    }
}

[System.Text.Json.Serialization.JsonSerializable(typeof(int))]
internal sealed partial class PortJson : System.Text.Json.Serialization.JsonSerializerContext;

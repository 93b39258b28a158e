using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary><c>keylime-agent identity</c>: who this machine is, for an operator's list.</summary>
internal static class IdentityCommand
{
    public static async Task RunAsync(AgentOptions options, Func<ITpmDevice> openTpm, TextWriter output, TimeProvider time, CancellationToken cancel)
    {
        Privileges.Drop(options.RunAs); // a key that it makes has to be the agent's own
        await using var tpm = new TpmClient(openTpm(), time);
        await tpm.StartupAsync(keepState: false, cancel);
        await tpm.FlushLeftoversAsync(cancel);
        var keys = await MachineKeys.OpenAsync(tpm, options, cancel);
        try
        {
            var chain = new X509Certificate2Collection();
            try
            {
                chain.ImportFromPem(await keys.ReadCertificatesAsync(cancel));
            }
            catch (CryptographicException e)
            {
                Log.Warning($"The certificates of the TPM cannot be read: {e.Message}");
            }

            output.WriteLine($"id:                  {(options.Uuid == "hash_ek" ? keys.EkHash : options.Uuid)}");
            output.WriteLine($"EK hash:             {Convert.ToHexStringLower(SHA256.HashData(MachineKeys.SpkiOf((await keys.GetEndorsementKeyAsync(cancel)).Public)))}");
            output.WriteLine($"EK template:         {keys.Profile.Name}");
            output.WriteLine($"AK name:             {Convert.ToHexStringLower(keys.AttestationKey.Name.Span)}");
            output.WriteLine($"certificate subject: {(chain.Count == 0 ? "none" : chain[0].Subject.Length == 0 ? "(empty)" : chain[0].Subject)}");
            output.WriteLine($"certificate issuer:  {(chain.Count == 0 ? "none" : chain[0].Issuer)}");
        }
        finally
        {
            await keys.ReleaseAsync(cancel);
        }
    }
}

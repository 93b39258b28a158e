using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>
/// Makes the first state of a <see cref="Swtpm"/> with swtpm_setup, whose certificates are signed by an authority of this folder:
/// one root, which signs endorsement certificates itself.
/// </summary>
internal sealed class SwtpmFactory(string folder)
{
    private string AuthorityFolder => Path.Combine(folder, "ca");

    private string AuthorityCertificate => Path.Combine(AuthorityFolder, "issuercert.pem");

    private string AuthorityKey => Path.Combine(AuthorityFolder, "signkey.pem");

    /// <returns>The root certificate, as PEM, where one was wanted.</returns>
    public async Task<string?> MakeAsync(string state, SwtpmOptions options)
    {
        List<string> arguments = ["--tpm2", "--tpmstate", state, "--pcr-banks", options.PcrBanks, "--config", await ConfigureAsync()];
        if (options.EkCertificate)
            arguments.Add("--create-ek-cert");

        var root = options.WantsAuthority ? await MakeAuthorityAsync() : null;
        await ToolProcess.RunAsync("swtpm_setup", folder, arguments, tcti: null);
        return root;
    }

    /// <summary>swtpm_setup certifies no P-256 key, so this does: the certificate, at its NV index.</summary>
    public async Task CertifyEccKeyAsync(Swtpm swtpm, CancellationToken cancel)
    {
        await using var tpm = swtpm.OpenClient();
        var (handle, area, _) = await tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, cancel);
        await tpm.FlushContextAsync(handle, cancel);

        var certificate = await IssueAsync((PublicArea.Ecc)area, cancel);
        var file = Path.Combine(folder, "ek-ecc.der");
        await File.WriteAllBytesAsync(file, certificate, cancel);
        var index = $"0x{KeyTemplates.EccCertificateIndex:x8}";
        const int padding = 100; // as manufacturers do: the index is larger than what is in it
        await swtpm.RunToolAsync(
            "tpm2_nvdefine", index, "-C", "o", "-s", $"{certificate.Length + padding}",
            "-a", "ownerread|ownerwrite|authread|ppread|no_da");
        await swtpm.RunToolAsync("tpm2_nvwrite", index, "-C", "o", "-i", file);
    }

    private async Task<byte[]> IssueAsync(PublicArea.Ecc area, CancellationToken cancel)
    {
        var (pem, rootKey) = (await File.ReadAllTextAsync(AuthorityCertificate, cancel), await File.ReadAllTextAsync(AuthorityKey, cancel));
        using var root = X509Certificate2.CreateFromPem(pem, rootKey);
        using var certificate = TestCertificates.Issue(area, root);
        return certificate.RawData;
    }

    private async Task<string> MakeAuthorityAsync()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest(
            $"CN=Manufacturer of the tests {Guid.NewGuid():N}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        var now = TimeProvider.System.GetUtcNow();
        using var root = request.CreateSelfSigned(now.AddDays(-1), now.AddYears(20));

        var pem = root.ExportCertificatePem() + "\n";
        await File.WriteAllTextAsync(AuthorityCertificate, pem);
        await File.WriteAllTextAsync(AuthorityKey, key.ExportRSAPrivateKeyPem() + "\n"); // in a folder that is 0700
        return pem;
    }

    private async Task<string> ConfigureAsync()
    {
        Directory.CreateDirectory(AuthorityFolder);
        var authority = Path.Combine(folder, "swtpm-localca.conf");
        var options = Path.Combine(folder, "swtpm-localca.options");
        var setup = Path.Combine(folder, "swtpm_setup.conf");
        await File.WriteAllTextAsync(authority, $"""
            statedir = {AuthorityFolder}
            signingkey = {AuthorityKey}
            issuercert = {AuthorityCertificate}
            certserial = {Path.Combine(AuthorityFolder, "certserial")}

            """);
        await File.WriteAllTextAsync(options, """
            --platform-manufacturer Keylime
            --platform-version 1.0
            --platform-model Tests

            """);
        await File.WriteAllTextAsync(setup, $"""
            create_certs_tool = swtpm_localca
            create_certs_tool_config = {authority}
            create_certs_tool_options = {options}
            active_pcr_banks = sha256

            """);
        return setup;
    }
}

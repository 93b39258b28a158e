namespace Keylime.Testing;

/// <summary>How a <see cref="Swtpm"/> leaves its factory.</summary>
public sealed record SwtpmOptions
{
    /// <summary>The PCR banks that are allocated, as swtpm_setup takes them.</summary>
    public string PcrBanks { get; init; } = "sha1,sha256,sha384";

    /// <summary>Give the RSA endorsement key a certificate, of a certificate authority made for this TPM alone.</summary>
    public bool EkCertificate { get; init; }

    /// <summary>Give the P-256 endorsement key one too, of the same authority.</summary>
    public bool EccEkCertificate { get; init; }

    public bool WantsAuthority => EkCertificate || EccEkCertificate;
}

using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Whom a device's maker vouches for, and what an attacker with the device's other keys can make of that.</summary>
public sealed class DeviceIdentityTests
{
    private const string Restricted = "2.23.133.11.1.3";
    private const string Fixed = "2.23.133.11.1.2";
    private static readonly DateTimeOffset Now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);
    private static readonly EndorsementShape Device = new() { Subject = "CN=device", Maker = false, Usage = X509KeyUsageFlags.DigitalSignature, Purpose = null };

    // Its attestation key stands for the IAK. What an IAK signs, an unrestricted key can sign too, of whatever its owner likes.
    private static readonly SoftwareTpm Tpm = new(TpmAlgorithm.Ecdsa);
    private static readonly PublicArea.Ecc IDevId = Unrestricted(new SoftwareTpm(TpmAlgorithm.Ecdsa).AttestationKey);
    private static readonly byte[] Name = SHA256.HashData("another key"u8);

    [Theory]
    [InlineData(new[] { Restricted }, null, X509KeyUsageFlags.DigitalSignature, true)]
    [InlineData(new[] { Fixed, Restricted }, null, X509KeyUsageFlags.DigitalSignature, true)]
    [InlineData(new string[0], "2.23.133.8.3", X509KeyUsageFlags.DigitalSignature, true)]
    [InlineData(new string[0], Restricted, X509KeyUsageFlags.DigitalSignature, true)]
    [InlineData(new string[0], null, X509KeyUsageFlags.DigitalSignature, false)]
    [InlineData(new[] { Fixed }, null, X509KeyUsageFlags.DigitalSignature, false)] // as an IDevID's
    [InlineData(new[] { Fixed }, "1.3.6.1.5.5.7.3.2", X509KeyUsageFlags.DigitalSignature, false)]
    [InlineData(new string[0], "2.23.133.8.1", X509KeyUsageFlags.KeyAgreement, false)] // as an endorsement key's
    [InlineData(new[] { Restricted }, null, X509KeyUsageFlags.KeyAgreement, false)]
    public void Only_a_certificate_that_says_so_makes_a_key_an_attestation_key(string[] policies, string? purpose, X509KeyUsageFlags usage, bool good)
    {
        using var certificate = TestCertificates.Issue(Tpm.AttestationKey, null, Device with { Policies = policies, Purpose = purpose, Usage = usage });
        var finding = Check(certificate);
        Assert.Equal(good ? null : FindingCodes.DeviceIdentityProfile, finding?.Code);
        Assert.StartsWith("IAK: ", finding?.Detail ?? "IAK: ", StringComparison.Ordinal);
    }

    [Fact]
    public void A_device_identity_key_that_poses_as_an_attestation_key_is_refused()
    {
        // The maker certified an IDevID. Its owner says of it that it is restricted, and signs with it a statement that no TPM made.
        using var ofTheIDevId = TestCertificates.IssueDevice(Unrestricted(Tpm.AttestationKey));
        Assert.Equal(FindingCodes.DeviceIdentityProfile, Check(ofTheIDevId)?.Code);

        using var ofTheIak = TestCertificates.IssueDevice(Tpm.AttestationKey);
        Assert.Null(Check(ofTheIak));
    }

    [Fact]
    public void Certificates_that_cannot_be_read_are_refused()
    {
        using var certificate = TestCertificates.IssueDevice(Tpm.AttestationKey);
        var der = certificate.RawData;
        for (var at = 0; at < der.Length; at++)
        {
            var changed = (byte[])der.Clone();
            changed[at] ^= 0x10;
            Assert.NotNull(Check(Convert.ToBase64String(changed)));
        }
    }

    private static Finding? Check(X509Certificate2 certificate) => Check(certificate.ExportCertificatePem());

    private static Finding? Check(string iakCertificate)
    {
        byte[] certified = [0, 0x0b, .. Name];
        var (message, signature) = Tpm.Certify(SHA256.HashData("a-node"u8), certified);
        var claim = new DeviceIdentityClaim(
            Tpm.AttestationKey.EncodeSized(), iakCertificate, IDevId.EncodeSized(), TestCertificates.IssueDevice(IDevId).ExportCertificatePem(), message, signature);
        return DeviceIdentity.Check(claim, certified, "a-node", [TestCertificates.Root], Now, out _);
    }

    private static PublicArea.Ecc Unrestricted(PublicArea key) => key is PublicArea.Ecc ecc
        ? new() { NameAlgorithm = ecc.NameAlgorithm, Attributes = ecc.Attributes & ~ObjectAttributes.Restricted, Scheme = ecc.Scheme, Curve = ecc.Curve, X = ecc.X, Y = ecc.Y }
        : throw new ArgumentException("An ECC key is expected.", nameof(key));
}

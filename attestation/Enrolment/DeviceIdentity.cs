using System.Diagnostics.CodeAnalysis;
using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;

namespace Keylime.Attestation;

/// <summary>What an agent sends to be known by its maker's device identity.</summary>
/// <param name="InitialAttestationKey">TPM2B_PUBLIC of the IAK.</param>
/// <param name="DeviceIdentityKey">TPM2B_PUBLIC of the IDevID.</param>
/// <param name="Message">TPMS_ATTEST: the IAK certifies the attestation key.</param>
/// <param name="Signature">TPMT_SIGNATURE.</param>
public sealed record DeviceIdentityClaim(
    ReadOnlyMemory<byte> InitialAttestationKey,
    string? InitialAttestationCertificate,
    ReadOnlyMemory<byte> DeviceIdentityKey,
    string? DeviceIdentityCertificate,
    ReadOnlyMemory<byte> Message,
    ReadOnlyMemory<byte> Signature);

/// <summary>
/// Keys that a maker put into the TPM of a device and certified there: IAK and IDevID (TCG TPM 2.0 Keys for Device Identity and Attestation;
/// IEEE 802.1AR). The IAK, which signs nothing but the TPM's own statements, says that the attestation key is in its TPM.
/// </summary>
public static class DeviceIdentity
{
    private const ObjectAttributes InTheTpm = ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin;

    /// <summary>Checks both certificates and the certification.</summary>
    /// <param name="attestationKeyName">Whom the IAK must have certified.</param>
    /// <param name="agent">The id claimed: the certification is for this registration and no other.</param>
    /// <param name="root">The root of the IAK's certificate.</param>
    /// <returns><see langword="null"/> if all is well, otherwise the reason why not.</returns>
    public static Finding? Check(
        DeviceIdentityClaim claim, ReadOnlySpan<byte> attestationKeyName, string agent, IReadOnlyCollection<X509Certificate2> trusted, DateTimeOffset at,
        [NotNullWhen(true)] out string? root)
    {
        ArgumentNullException.ThrowIfNull(claim);
        root = null;
        if (!PublicArea.TryParse(claim.InitialAttestationKey.Span, out var iak) || !PublicArea.TryParse(claim.DeviceIdentityKey.Span, out var idevid))
            return new Finding(DeviceIdentityMalformed, "iak_tpm and idevid_tpm are TPM2B_PUBLIC of an RSA or ECC key each.");
        if ((idevid.Attributes & InTheTpm) != InTheTpm || !idevid.Attributes.HasFlag(ObjectAttributes.Sign) || idevid.Attributes.HasFlag(ObjectAttributes.Decrypt))
            return new Finding(DeviceIdentityMalformed, $"An IDevID is {InTheTpm}, Sign and not Decrypt; this one is {idevid.Attributes}.");
        if (!AttestationKey.TryCreate(iak, out var key, out var refusal))
            return refusal with { Detail = "IAK: " + refusal.Detail };

        using (key)
        {
            if (Certify(idevid, claim.DeviceIdentityCertificate, attestation: false, trusted, at, out _) is { } other)
                return other with { Detail = "IDevID: " + other.Detail };
            if (Certify(iak, claim.InitialAttestationCertificate, attestation: true, trusted, at, out var found) is { } untrusted)
                return untrusted with { Detail = "IAK: " + untrusted.Detail };

            // Agents of Keylime's API 2.6 hash the id; older ones give it as it is (keylime-wire 1.4, 6).
            var id = Encoding.UTF8.GetBytes(agent);
            if (!Certification.Proves(key, SHA256.HashData(id), attestationKeyName, claim.Message, claim.Signature)
                && !Certification.Proves(key, id, attestationKeyName, claim.Message, claim.Signature))
                return new Finding(DeviceIdentityUnproven, "The IAK did not certify this attestation key for this id.");

            root = found!;
            return null;
        }
    }

    private static Finding? Certify(
        PublicArea key, string? text, bool attestation, IReadOnlyCollection<X509Certificate2> trusted, DateTimeOffset at, out string? root)
    {
        root = null;
        if (string.IsNullOrWhiteSpace(text))
            return new Finding(DeviceIdentityMalformed, "a key comes without its certificate.");

        var sent = new X509Certificate2Collection();
        try
        {
            CertificateChain.Read(text, sent);
            var spki = EndorsementKeys.Spki(key);
            if (sent.FirstOrDefault(c => c.PublicKey.ExportSubjectPublicKeyInfo().AsSpan().SequenceEqual(spki)) is not { } leaf)
                return new Finding(DeviceIdentityMalformed, "the certificate is not for the key.");
            if (DeviceProfile.Objection(leaf, attestation) is { } objection)
                return new Finding(DeviceIdentityProfile, $"the certificate is none of such a key: {objection}.");

            var chain = CertificateChain.Build(leaf, sent, trusted, at);
            root = chain.Root;
            return root is null ? new Finding(DeviceIdentityUntrusted, chain.Why) : null;
        }
        catch (Exception e) when (e is CryptographicException or FormatException or TpmFormatException or AsnContentException)
        {
            return new Finding(DeviceIdentityMalformed, $"the certificate cannot be read: {e.Message}");
        }
        finally
        {
            foreach (var certificate in sent)
                certificate.Dispose();
        }
    }
}

/// <summary>TPM2_Certify: one key of a TPM says of another that it is in the same TPM.</summary>
internal static class Certification
{
    public static bool Proves(
        AttestationKey signer, ReadOnlySpan<byte> qualifyingData, ReadOnlySpan<byte> certifiedName, ReadOnlyMemory<byte> message, ReadOnlyMemory<byte> signature) =>
        TpmSignature.TryParse(signature.Span, out var parsed)
        && signer.Verify(message.Span, parsed)
        && CertifyStatement.TryParse(message, out var statement)
        && CryptographicOperations.FixedTimeEquals(statement.QualifyingData.Span, qualifyingData)
        && CryptographicOperations.FixedTimeEquals(statement.Name.Span, certifiedName);
}

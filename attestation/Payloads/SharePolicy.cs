using Keylime.Tpm;

namespace Keylime.Attestation.Payloads;

/// <summary>
/// What an operator's own share of a key is sealed under: TPM2_PolicyCommandCode(TPM2_Unseal) (Part 3, 23.12). The share binds the payload to one TPM; to a boot and a
/// time its other part is bound, which the service seals at release.
/// </summary>
public static class SharePolicy
{
    /// <param name="hash">The name hash of the key that it is sealed to.</param>
    public static byte[] Digest(TpmAlgorithm hash) => PolicyStep.DigestOf([PolicyStep.OnlyUnseal], hash);

    /// <summary>Seals a share to the TPM with this endorsement key.</summary>
    /// <exception cref="ArgumentException">The key cannot be a parent, or there is too much data.</exception>
    public static WrappedSecret Seal(PublicArea endorsementKey, ReadOnlySpan<byte> share)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        return RemoteSeal.Wrap(endorsementKey, Digest(endorsementKey.NameAlgorithm), share);
    }
}

using System.Collections.Immutable;
using System.Security.Cryptography;
using Keylime.Protocol;
using Keylime.Protocol.Payloads;
using Keylime.Tpm;

namespace Keylime.Agent.Payloads;

/// <summary>A payload whose key is here, until it is zeroed.</summary>
internal sealed record OpenedRelease(PayloadOffer Offer, string Release, IReadOnlyList<PayloadPart> Parts, byte[] Key);

/// <summary>Has the TPM unseal what was released.</summary>
internal sealed class PayloadRelease(TpmClient tpm, MachineKeys keys)
{
    /// <param name="challenge">What the release was asked for with.</param>
    /// <exception cref="TpmRefusedException">This TPM, or its state, is not the one that it was sealed to.</exception>
    /// <exception cref="TpmFormatException">What was sealed cannot be read.</exception>
    /// <exception cref="PayloadException">It is the key of another request, node or payload.</exception>
    public async Task<OpenedRelease> OpenAsync(AgentId id, PayloadOffer offer, ReleasedPayload released, byte[] challenge, CancellationToken cancel)
    {
        var unsealed = await UnsealAsync(released.Key, PolicyOf(released.Policy), cancel);
        byte[]? share = null;
        try
        {
            if (unsealed.Length != PayloadBinding.SealedSize)
                throw new PayloadException($"{unsealed.Length} bytes were sealed, {PayloadBinding.SealedSize} are expected.");
            var binding = PayloadBinding.Digest(challenge, id, offer.Name, offer.Version, released.Parts.Select(static p => p.Digest));
            if (!CryptographicOperations.FixedTimeEquals(unsealed.AsSpan(PayloadBinding.KeySize), binding))
                throw new PayloadException("The key is of another request, node or payload: the answer is an old one, or was changed.");

            if (released.Share is { } sealedShare)
            {
                share = await UnsealAsync(sealedShare, [PolicyStep.OnlyUnseal], cancel);
                if (share.Length != PayloadBinding.KeySize)
                    throw new PayloadException($"A share of {share.Length} bytes was sealed, {PayloadBinding.KeySize} are expected.");
                for (var i = 0; i < share.Length; i++)
                    unsealed[i] ^= share[i];
            }

            return new OpenedRelease(offer, released.Release, released.Parts, unsealed[..PayloadBinding.KeySize]);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(unsealed);
            CryptographicOperations.ZeroMemory(share);
        }
    }

    private async Task<byte[]> UnsealAsync(SealedKey sealedKey, ImmutableArray<PolicyStep> steps, CancellationToken cancel)
    {
        var area = SealedArea.Parse(sealedKey.Public);
        var parent = await keys.GetEndorsementKeyAsync(cancel);
        return await tpm.UnsealImportedAsync(parent, area, sealedKey.Duplicate, sealedKey.Seed, steps, cancel);
    }

    private static ImmutableArray<PolicyStep> PolicyOf(BootPolicyMessage policy)
    {
        if (!TpmAlgorithms.TryFromProtocolName(policy.Bank, out var bank) || !bank.IsHash() || policy.Pcrs.Count == 0 || policy.Pcrs.Any(static p => p is < 0 or > 23))
            throw new PayloadException($"The policy is over no PCRs of a bank: '{policy.Bank}', {policy.Pcrs.Count} PCRs.");
        return
        [
            new PolicyStep.Pcrs(new PcrSelection(bank, PcrSet.Of([.. policy.Pcrs])), ReadOnlyMemory<byte>.Empty),
            PolicyStep.ResetCountIs(policy.ResetCount),
            PolicyStep.ClockBefore(policy.Clock),
        ];
    }
}

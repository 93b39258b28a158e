using System.Collections.Immutable;
using System.Security.Cryptography;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm;

public sealed partial class TpmClient
{
    /// <summary>The TPM's own clock and counters. Nobody signed them: they are for a machine's own use.</summary>
    public ValueTask<ClockInfo> ReadClockAsync(CancellationToken cancel) => ExecuteAsync<ReadClock, ClockInfo>(default, cancel);

    /// <summary>The digest of a policy, as the TPM computes it.</summary>
    /// <remarks>PCRs without a digest are taken as they are.</remarks>
    public async ValueTask<byte[]> ComputePolicyAsync(ImmutableArray<PolicyStep> steps, TpmAlgorithm hash, CancellationToken cancel)
    {
        var trial = await ExecuteAsync<StartPolicySession, uint>(
            new StartPolicySession(hash, RandomNumberGenerator.GetBytes(hash.DigestSize()), Trial: true), cancel).ConfigureAwait(false);
        return await UsingAsync(trial, async () =>
        {
            await AssertAsync(trial, steps, cancel).ConfigureAwait(false);
            return await ExecuteAsync<PolicyGetDigest, byte[]>(new PolicyGetDigest(trial), cancel).ConfigureAwait(false);
        }).ConfigureAwait(false);
    }

    /// <summary>Unseals what a policy guards; the data is hidden on its way from the TPM.</summary>
    /// <exception cref="TpmRefusedException">A step does not hold, or these are not the steps of the object's policy.</exception>
    public async ValueTask<byte[]> UnsealAsync(LoadedSeal item, LoadedKey saltKey, ImmutableArray<PolicyStep> steps, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(item);
        return await WithSaltedSessionAsync(saltKey, session => WithPolicySessionAsync(item.Public.NameAlgorithm, async policy =>
        {
            await AssertAsync(policy, steps, cancel).ConfigureAwait(false);
            return await ExecuteHiddenAsync<Unseal, byte[]>(
                new Unseal(item.Handle), [item.Name], session, hideRequest: false, hideResponse: true, cancel, TpmAuthorization.PolicyOnce(policy)).ConfigureAwait(false);
        }, cancel), cancel).ConfigureAwait(false);
    }

    /// <summary>Takes what somebody wrapped for this endorsement key, unseals it, and forgets it again.</summary>
    /// <exception cref="TpmRefusedException">It is for another key, or was altered; or a step of its policy does not hold.</exception>
    public async ValueTask<byte[]> UnsealImportedAsync(
        LoadedKey endorsementKey, SealedArea area, ReadOnlyMemory<byte> duplicate, ReadOnlyMemory<byte> seed, ImmutableArray<PolicyStep> steps, CancellationToken cancel)
    {
        var @private = await ImportAsync(endorsementKey, area, duplicate, seed, cancel).ConfigureAwait(false);
        var item = await LoadSealAsync(endorsementKey, area, @private, cancel).ConfigureAwait(false);
        return await UsingAsync(item.Handle, () => UnsealAsync(item, endorsementKey, steps, cancel)).ConfigureAwait(false);
    }

    private async ValueTask AssertAsync(uint session, ImmutableArray<PolicyStep> steps, CancellationToken cancel)
    {
        foreach (var step in steps)
        {
            switch (step)
            {
                case PolicyStep.Pcrs pcrs:
                    await ExecuteAsync<PolicyPcr, None>(new PolicyPcr(session, pcrs.Digest, pcrs.Selection), cancel).ConfigureAwait(false);
                    break;
                case PolicyStep.CounterTimer timer:
                    await ExecuteAsync<PolicyCounterTimer, None>(new PolicyCounterTimer(session, timer.Operand, timer.Offset, timer.Comparison), cancel).ConfigureAwait(false);
                    break;
                case PolicyStep.CommandCode command:
                    await ExecuteAsync<PolicyCommandCode, None>(new PolicyCommandCode(session, command.Code), cancel).ConfigureAwait(false);
                    break;
                default:
                    throw new System.Diagnostics.UnreachableException();
            }
        }
    }
}

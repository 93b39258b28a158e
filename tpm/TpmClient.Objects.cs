using System.Collections.Immutable;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm;

/// <summary>A sealed object in a TPM.</summary>
public sealed record LoadedSeal(uint Handle, SealedArea Public, ReadOnlyMemory<byte> Name);

public sealed partial class TpmClient
{
    /// <summary>TPM_RH_NULL (Part 2, 7.4).</summary>
    public const uint NullHierarchy = 0x40000007;

    /// <summary>TPM2_SelfTest of everything, or of what was not tested yet.</summary>
    public async ValueTask SelfTestAsync(bool full, CancellationToken cancel) =>
        await ExecuteAsync<SelfTest, None>(new SelfTest(full), cancel).ConfigureAwait(false);

    /// <summary>The curves of TPM_ECC_CURVE that the TPM has, ours or not.</summary>
    public async ValueTask<ImmutableArray<TpmCurve>> GetCurvesAsync(CancellationToken cancel)
    {
        const uint all = 64;
        var data = await ExecuteAsync<GetCapability, CapabilityData>(new(Capability.EccCurves, 0, all), cancel).ConfigureAwait(false);
        return data.Curves;
    }

    /// <summary>Loads a public area that is no TPM's, so that this one can encrypt to it or verify with it.</summary>
    public async ValueTask<LoadedKey> LoadExternalAsync(PublicArea area, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(area);
        var (handle, name) = await ExecuteAsync<LoadExternal, (uint, byte[])>(new LoadExternal(area.Encode(), NullHierarchy), cancel).ConfigureAwait(false);
        return new LoadedKey(handle, area, name);
    }

    /// <summary>Makes a loaded key persistent in the owner's hierarchy.</summary>
    public async ValueTask PersistAsync(uint loaded, uint persistent, CancellationToken cancel) =>
        await ExecuteAsync<EvictControl, None>(new EvictControl(Owner, loaded, persistent), cancel, TpmAuthorization.Password).ConfigureAwait(false);

    /// <summary>Forgets a persistent key.</summary>
    public async ValueTask EvictAsync(uint persistent, CancellationToken cancel) =>
        await ExecuteAsync<EvictControl, None>(new EvictControl(Owner, persistent, persistent), cancel, TpmAuthorization.Password).ConfigureAwait(false);

    /// <summary>Saves what is loaded under a handle; the TPM can be rid of it, and take it back.</summary>
    public ValueTask<byte[]> SaveContextAsync(uint handle, CancellationToken cancel) => ExecuteAsync<ContextSave, byte[]>(new ContextSave(handle), cancel);

    /// <returns>The handle that it has now.</returns>
    public ValueTask<uint> LoadContextAsync(ReadOnlyMemory<byte> context, CancellationToken cancel) => ExecuteAsync<ContextLoad, uint>(new ContextLoad(context), cancel);

    /// <summary>A credential made by this TPM for a loaded key of any. The secret is hidden on its way to the TPM.</summary>
    /// <param name="saltKey">A decryption key of this very TPM, which <paramref name="key"/> need not be.</param>
    public ValueTask<CredentialBlob> MakeCredentialAsync(
        LoadedKey key, ReadOnlyMemory<byte> secret, ReadOnlyMemory<byte> name, LoadedKey saltKey, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(key);
        return WithSaltedSessionAsync(saltKey, session => ExecuteHiddenAsync<MakeCredential, CredentialBlob>(
            new MakeCredential(key.Handle, secret, name), [key.Name], session, hideRequest: true, hideResponse: false, cancel), cancel);
    }

    /// <summary>RSAES-OAEP with a decryption key whose password is empty. What was encrypted is hidden on its way from the TPM.</summary>
    /// <param name="label">With its terminating zero; empty for none.</param>
    /// <param name="saltKey">A decryption key of this TPM; it may be <paramref name="key"/>.</param>
    public ValueTask<byte[]> RsaDecryptAsync(
        LoadedKey key, ReadOnlyMemory<byte> cipherText, TpmAlgorithm hash, ReadOnlyMemory<byte> label, LoadedKey saltKey, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(key);
        return WithSaltedSessionAsync(saltKey, session => ExecuteHiddenAsync<RsaDecrypt, byte[]>(
            new RsaDecrypt(key.Handle, cipherText, hash, label), [key.Name], session, hideRequest: false, hideResponse: true, cancel,
            TpmAuthorization.Password), cancel);
    }

    /// <summary>The digest of a policy that wants PCRs to have the values that they have now, or others.</summary>
    /// <param name="values">The digest over the values wanted; empty for those of now.</param>
    public ValueTask<byte[]> ComputePcrPolicyAsync(PcrSelection selection, ReadOnlyMemory<byte> values, TpmAlgorithm hash, CancellationToken cancel) =>
        ComputePolicyAsync([new PolicyStep.Pcrs(selection, values)], hash, cancel);

    /// <summary>Seals data below an endorsement key, under the policy of the template; the data is hidden on its way to the TPM.</summary>
    public async ValueTask<(ReadOnlyMemory<byte> Private, SealedArea Public)> SealAsync(
        LoadedKey endorsementKey, SealedArea template, ReadOnlyMemory<byte> data, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        var (@private, area) = await WithSaltedSessionAsync(endorsementKey, session => WithEndorsementPolicyAsync(
            endorsementKey,
            policy => ExecuteHiddenAsync<CreateSealed, (byte[], byte[])>(
                new CreateSealed(endorsementKey.Handle, template, data), [endorsementKey.Name], session, hideRequest: true, hideResponse: false, cancel, policy),
            cancel), cancel).ConfigureAwait(false);
        return (@private, SealedArea.Parse(area));
    }

    public async ValueTask<LoadedSeal> LoadSealAsync(LoadedKey endorsementKey, SealedArea area, ReadOnlyMemory<byte> @private, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        ArgumentNullException.ThrowIfNull(area);
        var (handle, name) = await WithEndorsementPolicyAsync(
            endorsementKey,
            policy => ExecuteAsync<Load, (uint, byte[])>(new Load(endorsementKey.Handle, @private, area.Encode()), cancel, policy),
            cancel).ConfigureAwait(false);
        return new LoadedSeal(handle, area, name);
    }

    /// <summary>Takes an object that somebody wrapped for this endorsement key.</summary>
    /// <returns>Its private part, as this TPM keeps it.</returns>
    public ValueTask<byte[]> ImportAsync(LoadedKey endorsementKey, SealedArea area, ReadOnlyMemory<byte> duplicate, ReadOnlyMemory<byte> seed, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        ArgumentNullException.ThrowIfNull(area);
        return WithEndorsementPolicyAsync(
            endorsementKey, policy => ExecuteAsync<Import, byte[]>(new Import(endorsementKey.Handle, area.Encode(), duplicate, seed), cancel, policy), cancel);
    }

    /// <summary>Unseals what PCR values guard; the data is hidden on its way from the TPM.</summary>
    /// <exception cref="TpmRefusedException">The PCRs do not have the values that the object's policy wants.</exception>
    public ValueTask<byte[]> UnsealAsync(LoadedSeal item, LoadedKey saltKey, PcrSelection selection, CancellationToken cancel) =>
        UnsealAsync(item, saltKey, [new PolicyStep.Pcrs(selection, ReadOnlyMemory<byte>.Empty)], cancel);
}

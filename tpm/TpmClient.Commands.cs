using System.Collections.Immutable;
using System.Security.Cryptography;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm;

/// <summary>A key in a TPM: its transient handle, its public area, its name.</summary>
public sealed record LoadedKey(uint Handle, PublicArea Public, ReadOnlyMemory<byte> Name);

public sealed partial class TpmClient
{
    /// <summary>TPM_RH_OWNER (Part 2, 7.4).</summary>
    public const uint Owner = 0x40000001;

    /// <summary>TPM_RH_ENDORSEMENT (Part 2, 7.4).</summary>
    public const uint Endorsement = 0x4000000B;

    private const uint TransientFirst = 0x80000000;
    private const uint LoadedSessionFirst = 0x02000000; // as GetCapability wants it: HR_HMAC_SESSION lists all loaded sessions
    private const uint HandlePage = 64;
    private const int MaxReadings = 10;
    private const int MaxItems = 4096; // of one list, over all its pages

    /// <summary>TPM2_Startup; a TPM that is started already stays as it is.</summary>
    public async ValueTask StartupAsync(bool keepState, CancellationToken cancel)
    {
        try
        {
            await ExecuteAsync<Startup, None>(new Startup(keepState), cancel).ConfigureAwait(false);
        }
        catch (TpmRefusedException e) when (e.Code.IsInitialize)
        {
            // Firmware, or whoever came first, has done it.
        }
    }

    public async ValueTask ShutdownAsync(bool keepState, CancellationToken cancel) =>
        await ExecuteAsync<Shutdown, None>(new Shutdown(keepState), cancel).ConfigureAwait(false);

    /// <summary>Random bytes, as many as are asked for, in as many commands as that takes.</summary>
    public async ValueTask<byte[]> GetRandomAsync(ushort count, CancellationToken cancel)
    {
        var random = new byte[count];
        for (var filled = 0; filled < count;)
        {
            var more = await ExecuteAsync<GetRandom, byte[]>(new GetRandom((ushort)(count - filled)), cancel).ConfigureAwait(false);
            if (more.Length == 0 || more.Length > count - filled)
                throw new TpmFormatException($"{more.Length} random bytes where 1 to {count - filled} are expected", 0);
            more.CopyTo(random, filled);
            filled += more.Length;
        }

        return random;
    }

    /// <param name="property">TPM_PT (Part 2, 6.13).</param>
    /// <returns>Null where the TPM does not have it.</returns>
    public async ValueTask<uint?> GetPropertyAsync(uint property, CancellationToken cancel)
    {
        var data = await ExecuteAsync<GetCapability, CapabilityData>(new(Capability.Properties, property, 1), cancel).ConfigureAwait(false);
        foreach (var item in data.Properties)
        {
            if (item.Property == property) // in place of one that it has not, a TPM gives the next
                return item.Value;
        }

        return null;
    }

    /// <summary>The PCR banks with the PCRs allocated in them; banks without any are left out.</summary>
    public async ValueTask<ImmutableArray<PcrSelection>> GetPcrBanksAsync(CancellationToken cancel)
    {
        var data = await ExecuteAsync<GetCapability, CapabilityData>(new(Capability.PcrBanks, 0, 1), cancel).ConfigureAwait(false);
        return [.. data.PcrBanks.Where(static b => !b.Pcrs.IsEmpty)];
    }

    public async ValueTask<ImmutableArray<AlgorithmProperty>> GetAlgorithmsAsync(CancellationToken cancel)
    {
        const uint all = 128;
        var algorithms = ImmutableArray.CreateBuilder<AlgorithmProperty>();
        for (var first = 0u; ;)
        {
            var data = await ExecuteAsync<GetCapability, CapabilityData>(new(Capability.Algorithms, first, all), cancel).ConfigureAwait(false);
            algorithms.AddRange(data.Algorithms);
            if (!data.More || data.Algorithms.IsEmpty)
                return algorithms.DrainToImmutable();
            first = Next(first, (uint)data.Algorithms[^1].Algorithm, algorithms.Count);
        }
    }

    /// <summary>The handles from <paramref name="first"/> on, of its kind (Part 2, 7.2).</summary>
    public async ValueTask<ImmutableArray<uint>> GetHandlesAsync(uint first, CancellationToken cancel)
    {
        var handles = ImmutableArray.CreateBuilder<uint>();
        for (var kind = first >> 24; ;)
        {
            var data = await ExecuteAsync<GetCapability, CapabilityData>(new(Capability.Handles, first, HandlePage), cancel).ConfigureAwait(false);
            handles.AddRange(data.Handles);
            if (!data.More || data.Handles.IsEmpty || data.Handles[^1] >> 24 != kind)
                return handles.DrainToImmutable();
            first = Next(first, data.Handles[^1], handles.Count);
        }
    }

    /// <summary>Flushes transient objects and sessions that a killed run left behind. Not needed, and harmless, with a resource manager.</summary>
    public async ValueTask FlushLeftoversAsync(CancellationToken cancel)
    {
        foreach (var first in (uint[])[TransientFirst, LoadedSessionFirst])
        {
            foreach (var handle in await GetHandlesAsync(first, cancel).ConfigureAwait(false))
                await FlushContextAsync(handle, cancel).ConfigureAwait(false);
        }
    }

    /// <summary>Reads PCR values of one bank, all of them at one moment.</summary>
    /// <exception cref="TpmFormatException">The bank does not have them all.</exception>
    /// <exception cref="TpmDeviceException">The PCRs changed during each of several readings.</exception>
    public async ValueTask<PcrBlob> PcrReadAsync(PcrSelection selection, CancellationToken cancel)
    {
        for (var attempt = 0; attempt < MaxReadings; attempt++)
        {
            if (await TryReadPcrsAsync(selection, cancel).ConfigureAwait(false) is { } blob)
                return blob;
        }

        throw new TpmDeviceException($"PCRs {selection.Pcrs} changed during each of {MaxReadings} readings.");
    }

    /// <summary>Extends a PCR in the banks given; a bank that is not among them keeps its value.</summary>
    public async ValueTask PcrExtendAsync(
        int pcr, ImmutableArray<(TpmAlgorithm Bank, ReadOnlyMemory<byte> Digest)> digests, CancellationToken cancel)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(pcr);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(pcr, PcrSet.Limit);
        foreach (var (bank, digest) in digests)
        {
            if (!bank.IsHash() || digest.Length != bank.DigestSize())
                throw new ArgumentException($"{digest.Length} bytes are no digest of {bank}.", nameof(digests));
        }

        await ExecuteAsync<PcrExtend, None>(new PcrExtend(pcr, digests), cancel, TpmAuthorization.Password).ConfigureAwait(false);
    }

    /// <summary>Sets a PCR back to zeros, where the platform lets one: 16 and 23.</summary>
    public async ValueTask PcrResetAsync(int pcr, CancellationToken cancel)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(pcr);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(pcr, PcrSet.Limit);
        await ExecuteAsync<PcrReset, None>(new PcrReset(pcr), cancel, TpmAuthorization.Password).ConfigureAwait(false);
    }

    /// <summary>A primary key of a hierarchy whose password is empty.</summary>
    public async ValueTask<LoadedKey> CreatePrimaryAsync(uint hierarchy, PublicArea template, CancellationToken cancel)
    {
        var primary = await ExecuteAsync<CreatePrimary, Primary>(
            new CreatePrimary(hierarchy, template), cancel, TpmAuthorization.Password).ConfigureAwait(false);
        return new LoadedKey(primary.Handle, primary.Public, primary.Name);
    }

    /// <summary>A key below an endorsement key, whose use its policy guards.</summary>
    /// <returns>The public area, and the contents of TPM2B_PRIVATE: a secret that only this TPM can unwrap.</returns>
    public async ValueTask<(PublicArea Public, ReadOnlyMemory<byte> Private)> CreateUnderEndorsementKeyAsync(
        LoadedKey endorsementKey, PublicArea template, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        var (@private, @public) = await WithEndorsementPolicyAsync(
            endorsementKey,
            policy => ExecuteAsync<Create, (byte[], PublicArea)>(new Create(endorsementKey.Handle, template), cancel, policy),
            cancel).ConfigureAwait(false);
        return (@public, @private);
    }

    public async ValueTask<LoadedKey> LoadUnderEndorsementKeyAsync(
        LoadedKey endorsementKey, PublicArea @public, ReadOnlyMemory<byte> @private, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(endorsementKey);
        var (handle, name) = await WithEndorsementPolicyAsync(
            endorsementKey,
            policy => ExecuteAsync<Load, (uint, byte[])>(new Load(endorsementKey.Handle, @private, @public.Encode()), cancel, policy),
            cancel).ConfigureAwait(false);
        return new LoadedKey(handle, @public, name);
    }

    public async ValueTask<LoadedKey> ReadPublicAsync(uint handle, CancellationToken cancel)
    {
        var (area, name) = await ExecuteAsync<ReadPublic, (PublicArea, byte[])>(new ReadPublic(handle), cancel).ConfigureAwait(false);
        return new LoadedKey(handle, area, name);
    }

    public async ValueTask FlushContextAsync(uint handle, CancellationToken cancel) =>
        await ExecuteAsync<FlushContext, None>(new FlushContext(handle), cancel).ConfigureAwait(false);

    public ValueTask<uint> StartPolicySessionAsync(TpmAlgorithm hash, CancellationToken cancel) =>
        ExecuteAsync<StartPolicySession, uint>(new StartPolicySession(hash, RandomNumberGenerator.GetBytes(hash.DigestSize()), Trial: false), cancel);

    /// <summary>TPM2_PolicySecret with the empty password of <paramref name="authority"/>.</summary>
    public async ValueTask PolicySecretAsync(uint authority, uint session, CancellationToken cancel) =>
        await ExecuteAsync<PolicySecret, None>(new PolicySecret(authority, session), cancel, TpmAuthorization.Password).ConfigureAwait(false);

    /// <summary>Opens a credential that was made for this endorsement key and this attestation key. The secret is hidden on its way from the TPM.</summary>
    /// <returns>The secret.</returns>
    public async ValueTask<byte[]> ActivateCredentialAsync(
        LoadedKey attestationKey, LoadedKey endorsementKey, CredentialBlob credential, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(attestationKey);
        ArgumentNullException.ThrowIfNull(endorsementKey);
        return await WithSaltedSessionAsync(endorsementKey, session => WithEndorsementPolicyAsync(
            endorsementKey,
            policy => ExecuteHiddenAsync<ActivateCredential, byte[]>(
                new ActivateCredential(attestationKey.Handle, endorsementKey.Handle, credential),
                [attestationKey.Name, endorsementKey.Name], session, hideRequest: false, hideResponse: true, cancel,
                TpmAuthorization.Password, policy),
            cancel), cancel).ConfigureAwait(false);
    }

    /// <summary>TPM2_Quote over the PCRs of one bank, with the key's own scheme.</summary>
    public ValueTask<SignedStatement> QuoteAsync(
        uint key, ReadOnlyMemory<byte> qualifyingData, PcrSelection selection, CancellationToken cancel) =>
        ExecuteAsync<QuoteCommand, SignedStatement>(
            new QuoteCommand(key, qualifyingData, KeyScheme.None, selection), cancel, TpmAuthorization.Password);

    /// <summary>TPM2_Certify of one key by another, or by itself, with the signing key's own scheme.</summary>
    public ValueTask<SignedStatement> CertifyAsync(
        uint certified, uint key, ReadOnlyMemory<byte> qualifyingData, CancellationToken cancel) =>
        ExecuteAsync<Certify, SignedStatement>(
            new Certify(certified, key, qualifyingData, KeyScheme.None), cancel, TpmAuthorization.Password, TpmAuthorization.Password);

    /// <summary>A quote together with the PCR values that it is over: a PCR that changes in between begins both again.</summary>
    /// <exception cref="TpmDeviceException">The PCRs change faster than they can be quoted.</exception>
    public async ValueTask<(SignedStatement Quote, PcrBlob Pcrs)> QuoteWithPcrsAsync(
        uint key, ReadOnlyMemory<byte> qualifyingData, PcrSelection selection, CancellationToken cancel)
    {
        for (var round = 0; round < MaxReadings; round++)
        {
            var pcrs = await PcrReadAsync(selection, cancel).ConfigureAwait(false);
            var quote = await QuoteAsync(key, qualifyingData, selection, cancel).ConfigureAwait(false);
            var hash = TpmSignature.Parse(quote.Signature.Span).Hash;
            if (QuoteStatement.Parse(quote.Message).PcrDigest.Span.SequenceEqual(pcrs.ComputeDigest(hash)))
                return (quote, pcrs);
        }

        throw new TpmDeviceException($"PCRs {selection.Pcrs} changed between reading and quoting, each of {MaxReadings} times.");
    }

    // Where the next page starts (Part 3, 30.2.1: lists ascend). A TPM that turns in a circle, or never ends, is none to listen to.
    private static uint Next(uint first, uint last, int count) => last >= first && count <= MaxItems
        ? last + 1
        : throw new TpmFormatException($"a list that goes on at 0x{last:x} after 0x{first:x}, with {count} items,", 0);

    private async ValueTask<PcrBlob?> TryReadPcrsAsync(PcrSelection selection, CancellationToken cancel)
    {
        var values = new SortedDictionary<int, ReadOnlyMemory<byte>>();
        uint? counter = null;
        for (var left = selection.Pcrs; !left.IsEmpty;)
        {
            var reading = await ExecuteAsync<PcrRead, PcrReading>(new PcrRead(selection with { Pcrs = left }), cancel).ConfigureAwait(false);
            counter ??= reading.UpdateCounter;
            if (counter != reading.UpdateCounter)
                return null; // a PCR changed between two readings: begin again

            if (reading.Read is not [var read] || read.Bank != selection.Bank || read.Pcrs.IsEmpty
                || read.Pcrs.Count != reading.Values.Length || !left.Covers(read.Pcrs))
            {
                throw new TpmFormatException($"PCRs {left} of {selection.Bank} were asked for, others came,", 0);
            }

            if (reading.Values.Any(v => v.Length != selection.Bank.DigestSize()))
                throw new TpmFormatException($"PCR values of {string.Join(',', reading.Values.Select(v => v.Length))} bytes in a bank of {selection.Bank.DigestSize()},", 0);

            foreach (var (pcr, value) in read.Pcrs.Zip(reading.Values))
                values[pcr] = value;
            left = left.Except(read.Pcrs);
        }

        return PcrBlob.Create(selection, [.. values.Values]);
    }
}

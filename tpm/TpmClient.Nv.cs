using System.Collections.Immutable;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm;

public sealed partial class TpmClient
{
    private const uint NvFirst = 0x01000000;
    private const uint NvBufferMax = 0x12C; // TPM_PT_NV_BUFFER_MAX, Part 2, 6.13
    private const uint SafeNvBuffer = 512;  // MAX_NV_BUFFER_SIZE of the PC Client platform is 512 at least
    private const uint LargestNvBuffer = 2048;
    private const int MaxChain = 64 * 1024;

    public async ValueTask<NvPublic> NvReadPublicAsync(uint index, CancellationToken cancel)
    {
        var found = await ExecuteAsync<NvReadPublic, NvPublic>(new NvReadPublic(index), cancel).ConfigureAwait(false);
        return found.Index == index
            ? found
            : throw new TpmFormatException($"NV index 0x{found.Index:x8} where 0x{index:x8} was asked for", 0);
    }

    /// <summary>The NV indices that are defined.</summary>
    public ValueTask<ImmutableArray<uint>> GetNvIndicesAsync(CancellationToken cancel) => GetHandlesAsync(NvFirst, cancel);

    /// <summary>The whole data of an NV index, read with its own empty password, or the owner's.</summary>
    public async ValueTask<byte[]> NvReadAsync(NvPublic index, CancellationToken cancel)
    {
        var authority = index.AuthRead || !index.OwnerRead ? index.Index : Owner;
        var limit = await GetPropertyAsync(NvBufferMax, cancel).ConfigureAwait(false) is { } said and > 0
            ? Math.Min(said, LargestNvBuffer)
            : SafeNvBuffer;
        var data = new byte[index.Size];
        for (var offset = 0; offset < data.Length;)
        {
            var size = (int)Math.Min(limit, (uint)(data.Length - offset));
            var read = await ExecuteAsync<NvRead, byte[]>(
                new NvRead(authority, index.Index, (ushort)size, (ushort)offset), cancel, TpmAuthorization.Password).ConfigureAwait(false);
            if (read.Length != size)
                throw new TpmFormatException($"{read.Length} bytes of NV where {size} were asked for,", offset);
            read.CopyTo(data, offset);
            offset += size;
        }

        return data;
    }

    /// <summary>The certificates in an NV index, without what is around them.</summary>
    /// <returns>Empty where there is no such index, or nothing in it.</returns>
    /// <exception cref="TpmFormatException">What is in it is cut off.</exception>
    public async ValueTask<ImmutableArray<ReadOnlyMemory<byte>>> ReadCertificatesAsync(uint index, CancellationToken cancel)
    {
        try
        {
            var area = await NvReadPublicAsync(index, cancel).ConfigureAwait(false);
            return area.Written ? NvCertificates.Split(await NvReadAsync(area, cancel).ConfigureAwait(false)) : [];
        }
        catch (TpmRefusedException e) when (e.Code.Error is TpmError.Handle or TpmError.NvUninitialized)
        {
            return [];
        }
    }

    /// <summary>The certificates between the endorsement key's and its root, as far as the TPM has them; a certificate may go on in the next index.</summary>
    public async ValueTask<ImmutableArray<ReadOnlyMemory<byte>>> ReadEndorsementChainAsync(CancellationToken cancel)
    {
        var all = new List<ReadOnlyMemory<byte>>();
        foreach (var index in await GetHandlesAsync(KeyTemplates.ChainFirstIndex, cancel).ConfigureAwait(false))
        {
            if (index is < KeyTemplates.ChainFirstIndex or > KeyTemplates.ChainLastIndex)
                continue;
            var info = await NvReadPublicAsync(index, cancel).ConfigureAwait(false);
            if (info.Written)
                all.Add(await NvReadAsync(info, cancel).ConfigureAwait(false));
            if (all.Sum(static data => data.Length) > MaxChain)
                throw new TpmFormatException($"a certificate chain of more than {MaxChain} bytes", 0);
        }

        return NvCertificates.Split(all);
    }
}

using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>
/// Measures files as the kernel's IMA does, with template <c>ima-ng</c>: extends PCR 10 of a TPM in all its banks, each with the
/// hash of the template data in that bank's algorithm, and appends the line to an ASCII list, whose template hash is SHA-1.
/// </summary>
/// <param name="logPath">Stands for <c>ascii_runtime_measurements</c>.</param>
/// <param name="extend">Extends PCR 10 of the TPM.</param>
/// <param name="banks">The banks that the TPM has.</param>
public sealed class ImaEmulator(
    string logPath, Func<ImmutableArray<(TpmAlgorithm Bank, ReadOnlyMemory<byte> Digest)>, CancellationToken, ValueTask> extend, params IReadOnlyList<TpmAlgorithm> banks)
{
    private const int Pcr = 10;

    /// <param name="tpm">Not disposed of here.</param>
    public ImaEmulator(string logPath, TpmClient tpm, params IReadOnlyList<TpmAlgorithm> banks)
        : this(logPath, (digests, cancel) => tpm.PcrExtendAsync(Pcr, digests, cancel), banks)
    {
    }

    /// <summary>Lines written so far.</summary>
    public long Lines { get; private set; }

    /// <summary>The first line of every list: the hash of PCRs 0 to 9 at boot, here those of a boot that measured nothing.</summary>
    public Task StartAsync(CancellationToken cancel) =>
        MeasureAsync(SHA256.HashData(new byte[10 * SHA256.HashSizeInBytes]), Encoding.ASCII.GetBytes("boot_aggregate"), cancel);

    /// <summary>Measures a file that is there, under its own path.</summary>
    public async Task MeasureFileAsync(string path, CancellationToken cancel)
    {
        await using var file = File.OpenRead(path);
        await MeasureAsync(await SHA256.HashDataAsync(file, cancel), Encoding.UTF8.GetBytes(path), cancel);
    }

    /// <summary>Measures a file of that SHA-256 and path. The line comes first, as in the kernel: a quote in between is of a list that is ahead of it.</summary>
    public async Task MeasureAsync(ReadOnlyMemory<byte> digest, ReadOnlyMemory<byte> path, CancellationToken cancel)
    {
        var data = TemplateData(digest.Span, path.Span);
        await AppendAsync(SHA1Of(data), digest, path, cancel);
        await ExtendAsync(bank => Hash(bank, data), cancel);
    }

    /// <summary>A violation: the line says zeros, and the PCR is extended with ones.</summary>
    public async Task ViolateAsync(ReadOnlyMemory<byte> path, CancellationToken cancel)
    {
        await AppendAsync(new byte[SHA1.HashSizeInBytes], new byte[SHA256.HashSizeInBytes], path, cancel);
        await ExtendAsync(static bank => Enumerable.Repeat((byte)0xff, bank.DigestSize()).ToArray(), cancel);
    }

    private async Task ExtendAsync(Func<TpmAlgorithm, byte[]> digest, CancellationToken cancel) =>
        await extend([.. banks.Select(bank => (bank, (ReadOnlyMemory<byte>)digest(bank)))], cancel);

    private async Task AppendAsync(ReadOnlyMemory<byte> templateHash, ReadOnlyMemory<byte> digest, ReadOnlyMemory<byte> path, CancellationToken cancel)
    {
        var head = $"{Pcr} {Convert.ToHexStringLower(templateHash.Span)} ima-ng sha256:{Convert.ToHexStringLower(digest.Span)} ";
        byte[] line = [.. Encoding.ASCII.GetBytes(head), .. path.Span, (byte)'\n'];
        await File.AppendAllBytesAsync(logPath, line, cancel); // in one write, as a reader of the kernel's list sees it
        Lines++;
    }

    /// <summary>The bytes that the kernel hashes for a line of <c>ima-ng</c>, or of <c>ima-sig</c> where there is a signature, empty or not.</summary>
    public static byte[] TemplateData(ReadOnlySpan<byte> digest, ReadOnlySpan<byte> path, byte[]? signature = null)
    {
        byte[] data = [.. Sized([.. "sha256:"u8, 0, .. digest]), .. Sized([.. path, 0])];
        return signature is null ? data : [.. data, .. Sized(signature)];
    }

    private static byte[] Sized(byte[] field)
    {
        var sized = new byte[sizeof(uint) + field.Length];
        BinaryPrimitives.WriteInt32LittleEndian(sized, field.Length);
        field.CopyTo(sized, sizeof(uint));
        return sized;
    }

    private static byte[] Hash(TpmAlgorithm bank, byte[] data) => bank switch
    {
        TpmAlgorithm.Sha1 => SHA1Of(data),
        TpmAlgorithm.Sha256 => SHA256.HashData(data),
        TpmAlgorithm.Sha384 => SHA384.HashData(data),
        TpmAlgorithm.Sha512 => SHA512.HashData(data),
        _ => throw new ArgumentOutOfRangeException(nameof(bank), bank, "No bank that this knows."),
    };

    [System.Diagnostics.CodeAnalysis.SuppressMessage("Security", "CA5350:Do Not Use Weak Cryptographic Algorithms", Justification = "IMA's own template hash; nothing relies on it.")]
    private static byte[] SHA1Of(byte[] data) => SHA1.HashData(data);
}

using System.Net.Http.Json;
using System.Security.Cryptography;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Protocol.Payloads;

namespace Keylime.Tenant.Payloads;

/// <summary>Encrypts a file under a key of its own, wraps that for the vault, and puts both. The service sees neither the file nor the key.</summary>
internal static class PayloadSender
{
    private const int MinRsaBits = 2048;

    /// <param name="expectedKey">The vault's key as PEM, where the operator knows it: another one is refused.</param>
    /// <param name="shareFile">Of a split key: the file that keeps the part which the vault does not get; <see langword="null"/> for a key that is not split.</param>
    public static async Task<PayloadMessage> PutAsync(
        ServiceApi api, string name, Stream file, PayloadAudience audience, PayloadTerms terms, string? expectedKey, string? shareFile, CancellationToken cancel)
    {
        var vault = await api.GetAsync("/v1/vault/key", ApiJson.Default.VaultKeyMessage, cancel);
        using var wrapping = ReadKey(vault, expectedKey);
        var key = RandomNumberGenerator.GetBytes(PayloadBinding.KeySize);
        var share = shareFile is null ? null : RandomNumberGenerator.GetBytes(PayloadBinding.KeySize);
        var toVault = share is null ? key : Xor(key, share);
        try
        {
            if (share is not null)
                await PolicySource.WriteFileAsync(shareFile!, share, cancel, isSecret: true); // first: a payload whose other part is lost opens nowhere
            await using var plain = new CountingStream(file);
            await using var upload = new PartUploader(api);
            await PayloadCipher.SealAsync(plain, upload, key, cancel);
            var parts = await upload.FinishAsync(cancel);
            var put = new PutPayload(plain.Count, parts, vault.Version, wrapping.Encrypt(toVault, RSAEncryptionPadding.OaepSHA256), audience) { Terms = terms, Split = share is not null };
            using var content = JsonContent.Create(put, ApiJson.Default.PutPayload);
            return await api.SendAsync(HttpMethod.Put, PayloadCommands.PathOf(name), content, ApiJson.Default.PayloadMessage, cancel);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
            CryptographicOperations.ZeroMemory(toVault);
            CryptographicOperations.ZeroMemory(share);
        }
    }

    private static byte[] Xor(byte[] one, byte[] other)
    {
        var result = new byte[one.Length];
        for (var i = 0; i < result.Length; i++)
            result[i] = (byte)(one[i] ^ other[i]);
        return result;
    }

    private static RSA ReadKey(VaultKeyMessage vault, string? expected)
    {
        var key = RSA.Create();
        try
        {
            key.ImportSubjectPublicKeyInfo(vault.PublicKey, out _);
            if (key.KeySize < MinRsaBits)
                throw new CliException(Exits.Failed, $"the vault's key has {key.KeySize} bits", $"{MinRsaBits} at least are expected");
            if (expected is not null)
            {
                using var known = RSA.Create();
                known.ImportFromPem(expected);
                if (!CryptographicOperations.FixedTimeEquals(known.ExportSubjectPublicKeyInfo(), key.ExportSubjectPublicKeyInfo()))
                    throw new CliException(Exits.Conflict, "the service tells of another key than --vault-key has", "was the vault's key rotated? Its owner knows its public half");
            }

            return key;
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            key.Dispose();
            throw new CliException(Exits.Failed, "the vault's key is no public RSA key", "--vault-key wants a file in PEM; what the service tells is wrong otherwise");
        }
    }

    /// <summary>Counts what is read: a file may change while it is.</summary>
    private sealed class CountingStream(Stream inner) : Stream
    {
        public long Count { get; private set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => Count;
            set => throw new NotSupportedException();
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = await inner.ReadAsync(buffer, cancellationToken);
            Count += read;
            return Count <= PayloadParts.MaxPlain
                ? read
                : throw new CliException(Exits.Usage, $"the file is longer than {PayloadParts.MaxPlain} bytes", "cut it, and put it under several names");
        }

        public override int Read(byte[] buffer, int offset, int count)
        {
            var read = inner.Read(buffer, offset, count);
            Count += read;
            return read;
        }

        public override void Flush()
        {
            // nothing is written
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}

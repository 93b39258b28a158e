using System.Buffers.Binary;
using System.Diagnostics;
using System.Numerics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Attestation.Tests;

/// <summary>Keys of people who sign files, and signatures in each of the kernel's formats.</summary>
internal static class FileKeys
{
    public static RSA Rsa { get; } = RSA.Create(2048);

    public static ECDsa P256 { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public static ECDsa P384 { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP384);

    public static ECDsa P521 { get; } = ECDsa.Create(ECCurve.NamedCurves.nistP521);

    public static ImaKey Read(AsymmetricAlgorithm key) => Read(key.ExportSubjectPublicKeyInfo());

    public static ImaKey Read(ReadOnlySpan<byte> bytes)
    {
        Assert.True(ImaKey.TryRead(bytes, out var key, out var error), error);
        return key;
    }

    public static KeyringSet Set(params IReadOnlyList<ImaKey> keys) =>
        KeyringSet.Empty.With(".ima", keys.Aggregate(Keyring.Empty, static (ring, key) => ring.Add(key)));

    public static X509Certificate2 Certify(AsymmetricAlgorithm key, byte[]? keyIdentifier = null, Action<CertificateRequest>? with = null, X509Certificate2? issuer = null)
    {
        var request = key is RSA rsa
            ? new CertificateRequest("CN=signer of files", rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
            : new CertificateRequest("CN=signer of files", (ECDsa)key, HashAlgorithmName.SHA256);
        if (keyIdentifier is not null)
            request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(keyIdentifier, false));
        with?.Invoke(request);
        var (from, to) = (new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero), new DateTimeOffset(2027, 1, 1, 0, 0, 0, TimeSpan.Zero));
        return issuer is null ? request.CreateSelfSigned(from, to) : request.Create(issuer, from, to, [1, 2, 3, 4]);
    }

    /// <summary>Of version 2, or of version 3 with the hash of ima_file_id.</summary>
    public static byte[] Sign(AsymmetricAlgorithm key, KernelHash hash, ReadOnlySpan<byte> digest, byte type = 3, byte version = 2, uint? id = null)
    {
        var name = hash.RuntimeName()!.Value;
        var signed = version == 2 ? digest.ToArray() : CryptographicOperations.HashData(name, [type, (byte)hash, .. digest]);
        var value = key is RSA rsa ? rsa.SignHash(signed, name, RSASignaturePadding.Pkcs1) : ((ECDsa)key).SignHash(signed, DSASignatureFormat.Rfc3279DerSequence);
        return Later(type, version, (byte)hash, id ?? Read(key).Id, value);
    }

    public static byte[] Later(byte type, byte version, byte hash, uint id, byte[] value)
    {
        var header = new byte[9];
        (header[0], header[1], header[2]) = (type, version, hash);
        BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(3), id);
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(7), (ushort)value.Length);
        return [.. header, .. value];
    }

    /// <summary>Of version 1: SHA-1 over digest and header, padded without the hash's name, with the bare private operation.</summary>
    public static byte[] SignFirst(RSA key, ReadOnlySpan<byte> digest, bool sha256)
    {
        var header = new byte[16];
        (header[0], header[6], header[15]) = (1, (byte)(sha256 ? 1 : 0), 1);
        BinaryPrimitives.WriteUInt64BigEndian(header.AsSpan(7), Read(key).FirstId!.Value);
#pragma warning disable CA5350 // the format's hash
        byte[] hash = SHA1.HashData([.. digest, .. header]);
#pragma warning restore CA5350
        var parameters = key.ExportParameters(true);
        var size = parameters.Modulus!.Length;
        byte[] padded = [0, 1, .. Enumerable.Repeat((byte)0xFF, size - 3 - hash.Length), 0, .. hash];
        var value = BigInteger.ModPow(Number(padded), Number(parameters.D!), Number(parameters.Modulus)).ToByteArray(isUnsigned: true, isBigEndian: true);
        value = [.. new byte[size - value.Length], .. value];
        return [3, .. header, (byte)(size * 8 >> 8), (byte)(size * 8 & 0xFF), .. value];

        static BigInteger Number(byte[] bytes) => new(bytes, isUnsigned: true, isBigEndian: true);
    }

    public static async Task<string> RunAsync(string folder, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        var text = await output + await error;
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)}: {text}");
        return text;
    }
}

using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Keylime.Attestation;

/// <summary>A public key as people keep it: in a certificate, bare, or with its private part; PEM or DER.</summary>
/// <param name="Certificate">DER, where it came in one.</param>
internal sealed record KeyFile(VerificationKey Key, byte[]? Certificate)
{
    /// <summary>The longest file, in bytes.</summary>
    public const int MaxLength = 64 * 1024;

    /// <param name="error">What is wrong.</param>
    public static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out KeyFile? file, [NotNullWhen(false)] out string? error)
    {
        file = null;
        if (bytes.Length > MaxLength)
        {
            error = $"{bytes.Length} bytes, {MaxLength} at most";
            return false;
        }

        try
        {
            return bytes.IndexOf("-----BEGIN "u8) >= 0 ? TryReadPem(Encoding.UTF8.GetString(bytes), out file, out error) : TryReadDer(bytes, out file, out error);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or FormatException)
        {
            error = $"it cannot be read: {e.Message}";
            return false;
        }
    }

    /// <summary>The subject key identifier (RFC 5280, 4.2.1.2); empty where there is none.</summary>
    public static ReadOnlySpan<byte> SubjectKeyIdentifier(byte[] certificate)
    {
        using var parsed = X509CertificateLoader.LoadCertificate(certificate);
        try
        {
            return parsed.Extensions.OfType<X509SubjectKeyIdentifierExtension>().FirstOrDefault() is { } extension
                ? extension.SubjectKeyIdentifierBytes.Span
                : [];
        }
        catch (CryptographicException) // an extension that is none
        {
            return [];
        }
    }

    private static bool TryReadPem(string text, out KeyFile? file, [NotNullWhen(false)] out string? error)
    {
        (file, error) = (null, null);
        for (var rest = text.AsSpan(); PemEncoding.TryFind(rest, out var found); rest = rest[found.Location.End..])
        {
            var label = rest[found.Label];
            if (label is "EC PARAMETERS") // openssl writes them in front of a key, which has them too
                continue;
            if (file is not null)
            {
                error = "there is more than one key or certificate";
                return false;
            }

            var der = Convert.FromBase64String(rest[found.Base64Data].ToString());
            if (!FromPem(label, der, out file, out error))
                return false;
        }

        if (file is not null)
            return true;
        error = "there is no complete PEM in it";
        return false;
    }

    private static bool FromPem(ReadOnlySpan<char> label, byte[] der, out KeyFile? file, [NotNullWhen(false)] out string? error)
    {
        switch (label)
        {
            case "CERTIFICATE":
                return FromCertificate(der, out file, out error);
            case "PUBLIC KEY":
                return FromPublic(der, out file, out error);
            case "PRIVATE KEY":
                return FromPrivate(der, out file, out error);
            case "RSA PUBLIC KEY":
                return FromRsaPublic(der, out file, out error);
            case "RSA PRIVATE KEY":
                return FromRsaPrivate(der, out file, out error);
            case "EC PRIVATE KEY":
                return FromEcPrivate(der, out file, out error);
            default:
                file = null;
                return Refuse($"PEM of '{label}'; a certificate or a key that is not encrypted is expected", out error);
        }
    }

    private static bool TryReadDer(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error)
    {
        // Each form starts with a SEQUENCE; which one it is shows in what can be read. The first failure of the public form has the best words.
        if (FromPublic(der, out file, out error))
            return true;

        var why = error;
        if (TryQuietly(der, FromCertificate, out file) || TryQuietly(der, FromRsaPublic, out file) || TryQuietly(der, FromPrivate, out file)
            || TryQuietly(der, FromRsaPrivate, out file) || TryQuietly(der, FromEcPrivate, out file))
        {
            error = null;
            return true;
        }

        error = why;
        return false;
    }

    private delegate bool Reader(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error);

    private delegate void Importer<T>(T key, ReadOnlySpan<byte> der, out int used);

    private static bool TryQuietly(ReadOnlySpan<byte> der, Reader read, out KeyFile? file)
    {
        try
        {
            return read(der, out file, out _);
        }
        catch (CryptographicException)
        {
            file = null;
            return false;
        }
    }

    private static bool FromCertificate(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error)
    {
        file = null;
        using var certificate = X509CertificateLoader.LoadCertificate(der);
        if (!certificate.RawDataMemory.Span.SequenceEqual(der))
            return Refuse("bytes behind the certificate", out error);
        if (!VerificationKey.TryCreate(certificate.PublicKey.ExportSubjectPublicKeyInfo(), out var key, out error))
            return false;
        file = new KeyFile(key, certificate.RawData);
        return true;
    }

    private static bool FromPublic(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error)
    {
        file = VerificationKey.TryCreate(der, out var key, out error) ? new KeyFile(key, null) : null;
        return file is not null;
    }

    private static bool FromPrivate(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error)
    {
        try
        {
            return FromKey(RSA.Create(), der, static (RSA rsa, ReadOnlySpan<byte> d, out int used) => rsa.ImportPkcs8PrivateKey(d, out used), out file, out error);
        }
        catch (CryptographicException)
        {
            return FromKey(ECDsa.Create(), der, static (ECDsa ec, ReadOnlySpan<byte> d, out int used) => ec.ImportPkcs8PrivateKey(d, out used), out file, out error);
        }
    }

    private static bool FromRsaPublic(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error) =>
        FromKey(RSA.Create(), der, static (RSA rsa, ReadOnlySpan<byte> d, out int used) => rsa.ImportRSAPublicKey(d, out used), out file, out error);

    private static bool FromRsaPrivate(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error) =>
        FromKey(RSA.Create(), der, static (RSA rsa, ReadOnlySpan<byte> d, out int used) => rsa.ImportRSAPrivateKey(d, out used), out file, out error);

    private static bool FromEcPrivate(ReadOnlySpan<byte> der, out KeyFile? file, [NotNullWhen(false)] out string? error) =>
        FromKey(ECDsa.Create(), der, static (ECDsa ec, ReadOnlySpan<byte> d, out int used) => ec.ImportECPrivateKey(d, out used), out file, out error);

    private static bool FromKey<T>(T key, ReadOnlySpan<byte> der, Importer<T> import, out KeyFile? file, [NotNullWhen(false)] out string? error)
        where T : AsymmetricAlgorithm
    {
        using (key)
        {
            import(key, der, out var used);
            file = null;
            return used == der.Length ? FromPublic(key.ExportSubjectPublicKeyInfo(), out file, out error) : Refuse($"{der.Length - used} bytes behind the key", out error);
        }
    }

    private static bool Refuse(string why, [NotNullWhen(false)] out string? error)
    {
        error = why;
        return false;
    }
}

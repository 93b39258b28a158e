using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Attestation;

/// <summary>Whose signatures count: what an operator configured, and nothing that came with a signature. Immutable.</summary>
public sealed class SigningTrust
{
    /// <summary>The most keys, and the most roots.</summary>
    public const int MaxEntries = 256;

    private SigningTrust(ImmutableArray<TrustedKey> keys, ImmutableArray<X509Certificate2> roots) => (Keys, Roots) = (keys, roots);

    /// <summary>Nobody.</summary>
    public static SigningTrust None { get; } = new([], []);

    public bool IsEmpty => Keys.IsEmpty && Roots.IsEmpty;

    internal ImmutableArray<TrustedKey> Keys { get; }

    internal ImmutableArray<X509Certificate2> Roots { get; }

    /// <summary>With a public key, or a certificate whose key counts while it is valid, whoever issued it: PEM or DER.</summary>
    /// <param name="name">What verdicts call the signer.</param>
    public bool TryAdd(string name, ReadOnlySpan<byte> keyOrCertificate, [NotNullWhen(true)] out SigningTrust? with, [NotNullWhen(false)] out string? error)
    {
        with = null;
        if (keyOrCertificate.IndexOf("PRIVATE KEY-----"u8) >= 0)
        {
            error = "a private key; its public key or a certificate is expected";
            return false;
        }

        if (Keys.Length == MaxEntries)
        {
            error = $"{MaxEntries} keys are trusted already";
            return false;
        }

        if (!KeyFile.TryRead(keyOrCertificate, out var file, out error))
            return false;

        var (from, to) = (DateTimeOffset.MinValue, DateTimeOffset.MaxValue);
        if (file.Certificate is { } der)
        {
            using var certificate = X509CertificateLoader.LoadCertificate(der);
            (from, to) = (certificate.NotBefore.ToUniversalTime(), certificate.NotAfter.ToUniversalTime());
        }

        with = new SigningTrust(Keys.Add(new TrustedKey(name, file.Key, from, to)), Roots);
        return true;
    }

    /// <summary>With a root, or an intermediate that completes chains to one: certificates that chain to a root, and may sign, count.</summary>
    public bool TryAddRoot(X509Certificate2 root, [NotNullWhen(true)] out SigningTrust? with, [NotNullWhen(false)] out string? error)
    {
        ArgumentNullException.ThrowIfNull(root);
        with = null;
        error = Roots.Length == MaxEntries ? $"{MaxEntries} roots are trusted already" : AuthorityObjection(root);
        if (error is not null)
            return false;
        with = new SigningTrust(Keys, Roots.Add(root));
        return true;
    }

    private static string? AuthorityObjection(X509Certificate2 certificate)
    {
        try
        {
            return certificate.Extensions.OfType<X509BasicConstraintsExtension>().Any(static e => e.CertificateAuthority) ? null : $"'{certificate.Subject}' is no authority (basicConstraints); as a signer's own it can be trusted by itself";
        }
        catch (CryptographicException e)
        {
            return $"its extensions cannot be read: {e.Message}";
        }
    }
}

/// <param name="From">When the key's certificate begins to be valid; the beginning of time for a bare key.</param>
internal sealed record TrustedKey(string Name, VerificationKey Key, DateTimeOffset From, DateTimeOffset To);

using System.Security.Cryptography;

namespace Keylime.Attestation;

/// <summary>An entry of a key database, in the form that boot policies name it: what it is, and its digest.</summary>
/// <remarks>
/// <c>sha256:hex</c> is a hash that the database lists; <c>x509:hex</c> a certificate, by the SHA-256 of its DER; <c>x509-sha256:hex</c> the
/// hash of a certificate's signed part, whatever the time of revocation behind it; any other type is <c>guid:hex</c>, with the SHA-256 of the
/// entry's data. The owner is left out: it says who put an entry in, and decides nothing about what may boot.
/// </remarks>
internal static class EfiSignatureKey
{
    private static readonly (Guid Type, string Name, int Size)[] Hashes =
    [
        (EfiGuids.Sha1, "sha1", 20), (EfiGuids.Sha256, "sha256", 32), (EfiGuids.Sha384, "sha384", 48), (EfiGuids.Sha512, "sha512", 64),
        (EfiGuids.X509Sha256, "x509-sha256", 32), (EfiGuids.X509Sha384, "x509-sha384", 48), (EfiGuids.X509Sha512, "x509-sha512", 64),
    ];

    public static string Of(Guid type, ReadOnlySpan<byte> data)
    {
        foreach (var (known, name, size) in Hashes)
        {
            if (known == type && data.Length >= size)
                return $"{name}:{Convert.ToHexStringLower(data[..size])}";
        }

        var kind = type == EfiGuids.X509 ? "x509" : type.ToString();
        return $"{kind}:{Convert.ToHexStringLower(SHA256.HashData(data))}";
    }

    public static IEnumerable<string> Of(EfiVariableContent.SignatureDatabase database) =>
        database.Lists.SelectMany(static list => list.Signatures.Select(entry => Of(list.Type, entry.Data.Span)));

    public static bool IsKey(string text)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        if (colon < 0)
            return false;
        var (kind, hex) = (text[..colon], text[(colon + 1)..]);
        var known = Array.Find(Hashes, h => h.Name == kind);
        return known.Name is not null
            ? BootDigestSet.IsHex(hex, known.Size)
            : (kind == "x509" || Guid.TryParseExact(kind, "D", out var type) && kind == type.ToString()) && BootDigestSet.IsHex(hex, 32);
    }
}

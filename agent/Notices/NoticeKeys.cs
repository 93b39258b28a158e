using System.Security.Cryptography;

namespace Keylime.Agent.Notices;

/// <summary>The keys whose notices count: the operator installed them, and nothing that a service sends adds one.</summary>
internal static class NoticeKeys
{
    private const string Label = "PUBLIC KEY";
    private const string P256 = "1.2.840.10045.3.1.7"; // RFC 5480, section 2.1.1.1
    private const string Hint = "it holds what 'keylime notice key' prints; several keys may stand one behind the other";

    /// <summary>Reads a file of PEM keys. Each has to be disposed of.</summary>
    /// <exception cref="OptionsException">It cannot be read, holds none, or something else too.</exception>
    public static IReadOnlyList<ECDsa> Load(string path)
    {
        var keys = new List<ECDsa>();
        try
        {
            var rest = File.ReadAllText(path).AsSpan();
            while (PemEncoding.TryFind(rest, out var found))
            {
                if (!rest[found.Label].SequenceEqual(Label))
                    throw new OptionsException($"notice_key: '{path}' holds a '{rest[found.Label]}'; a '{Label}' is expected.", Hint);
                var key = ECDsa.Create();
                keys.Add(key);
                key.ImportFromPem(rest[found.Location]);
                if (key.ExportParameters(includePrivateParameters: false).Curve.Oid.Value != P256)
                    throw new OptionsException($"notice_key: key {keys.Count} in '{path}' is not on the curve P-256.", Hint);
                rest = rest[found.Location.End..];
            }

            return keys.Count > 0 ? keys : throw new OptionsException($"notice_key: '{path}' holds no key.", Hint);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException or ArgumentException or OptionsException)
        {
            Release(keys);
            throw e as OptionsException ?? new OptionsException($"notice_key: '{path}' cannot be read: {e.Message}", Hint);
        }
    }

    public static void Release(IReadOnlyList<ECDsa> keys)
    {
        foreach (var key in keys)
            key.Dispose();
    }
}

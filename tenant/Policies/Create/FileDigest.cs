using System.Security.Cryptography;

namespace Keylime.Tenant;

/// <summary>Digests of files' contents, in lower-case hex.</summary>
internal static class FileDigest
{
    public static HashAlgorithmName Named(string algorithm) => algorithm switch
    {
        "sha1" => HashAlgorithmName.SHA1,
        "sha256" => HashAlgorithmName.SHA256,
        "sha384" => HashAlgorithmName.SHA384,
        _ => HashAlgorithmName.SHA512,
    };

    /// <summary>Of a regular file. A file that says it is empty is not opened: pipes and devices say so too, and opening a pipe waits for ever.</summary>
    /// <param name="algorithms">One or more.</param>
    public static string[] Of(FileInfo file, params ReadOnlySpan<HashAlgorithmName> algorithms)
    {
        using var stream = file.Length == 0 ? Stream.Null : new FileStream(file.FullName, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 128 * 1024, FileOptions.SequentialScan);
        return Of(stream, algorithms);
    }

    /// <summary>Of all that a stream has.</summary>
    public static string[] Of(Stream stream, params ReadOnlySpan<HashAlgorithmName> algorithms)
    {
        var hashes = new IncrementalHash[algorithms.Length];
        try
        {
            for (var i = 0; i < hashes.Length; i++)
                hashes[i] = IncrementalHash.CreateHash(algorithms[i]);
            var buffer = new byte[128 * 1024];
            for (int read; (read = stream.Read(buffer)) > 0;)
            {
                foreach (var hash in hashes)
                    hash.AppendData(buffer, 0, read);
            }

            return Array.ConvertAll(hashes, static h => Convert.ToHexStringLower(h.GetHashAndReset()));
        }
        finally
        {
            foreach (var hash in hashes)
                hash?.Dispose();
        }
    }
}

using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Functions.Hosting;

/// <summary>The certificates of TPM makers that the operator trusts: the files of one folder, read again when they change.</summary>
internal sealed partial class TrustStore(string folder, ILogger<TrustStore> log)
{
    private readonly Lock _lock = new();
    private string? _seen;
    private X509Certificate2[] _certificates = []; // never disposed: a registration may still be looking at the old ones

    /// <summary>Roots and intermediates. Empty means that no chain ends at a trusted root, never that any does.</summary>
    public IReadOnlyCollection<X509Certificate2> Certificates
    {
        get
        {
            lock (_lock)
            {
                var files = Files();
                var now = string.Join('\n', files.Select(f => $"{f.Name}|{f.Length}|{f.LastWriteTimeUtc.Ticks}"));
                if (now != _seen)
                {
                    _certificates = [.. files.SelectMany(Read)];
                    _seen = now;
                    LogRead(log, _certificates.Length, files.Length);
                }

                return _certificates;
            }
        }
    }

    private FileInfo[] Files()
    {
        var directory = new DirectoryInfo(folder);
        return directory.Exists ? [.. directory.EnumerateFiles().OrderBy(f => f.Name, StringComparer.Ordinal)] : [];
    }

    private X509Certificate2[] Read(FileInfo file)
    {
        try
        {
            var bytes = File.ReadAllBytes(file.FullName);
            var pem = System.Text.Encoding.UTF8.GetString(bytes);
            if (!pem.Contains("-----BEGIN CERTIFICATE", StringComparison.Ordinal))
                return [X509CertificateLoader.LoadCertificate(bytes)];

            var all = new X509Certificate2Collection();
            all.ImportFromPem(pem);
            return [.. all];
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            LogUnreadable(log, file.Name, e.Message);
            return [];
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Trusting {Certificates} certificates of {Files} files for endorsement keys")]
    private static partial void LogRead(ILogger log, int certificates, int files);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The trust file '{Name}' is no certificate and is left out: {Why}")]
    private static partial void LogUnreadable(ILogger log, string name, string why);
}

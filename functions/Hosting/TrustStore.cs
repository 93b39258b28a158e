using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Hosting;

/// <summary>A certificate that vouches for TPMs, and where it comes from: <c>folder</c> or <c>store</c>.</summary>
internal sealed record TrustedEntry(X509Certificate2 Certificate, string Source);

/// <summary>
/// The certificates of TPM makers that the operator trusts: the files of one folder, read again when they change, and what was added by the API, which
/// every instance sees within seconds. Empty means that no chain ends at a trusted root, never that any does.
/// </summary>
internal sealed partial class TrustStore(string folder, IRecordStore<TrustedCertificate> added, TimeProvider clock, ILogger<TrustStore> log)
{
    private static readonly TimeSpan Freshness = TimeSpan.FromSeconds(10);

    private readonly Lock _lock = new();
    private string? _seen;
    private TrustedEntry[] _files = []; // certificates are never disposed: a registration may still be looking at the old ones
    private TrustedEntry[] _rows = [];
    private long? _readAt;

    public async Task<IReadOnlyList<TrustedEntry>> AllAsync(CancellationToken cancel)
    {
        bool stale;
        lock (_lock)
            stale = _readAt is not { } at || clock.GetElapsedTime(at) > Freshness;
        if (stale)
        {
            var rows = await added.AllAsync(cancel);
            var now = clock.GetTimestamp();
            lock (_lock)
                (_rows, _readAt) = ([.. rows.Select(Load).OfType<TrustedEntry>()], now);
        }

        lock (_lock)
        {
            ReadFolder();
            return [.. _files, .. _rows];
        }
    }

    public async Task<IReadOnlyList<X509Certificate2>> CertificatesAsync(CancellationToken cancel) =>
        [.. (await AllAsync(cancel)).Select(static e => e.Certificate)];

    /// <summary>Looks at the store again with the next question: something was changed here.</summary>
    public void Forget()
    {
        lock (_lock)
            _readAt = null;
    }

    private void ReadFolder()
    {
        var files = Files();
        var now = string.Join('\n', files.Select(f => $"{f.Name}|{f.Length}|{f.LastWriteTimeUtc.Ticks}"));
        if (now == _seen)
            return;
        _files = [.. files.SelectMany(Read)];
        _seen = now;
        LogRead(log, _files.Length, files.Length);
    }

    private FileInfo[] Files()
    {
        var directory = new DirectoryInfo(folder);
        return directory.Exists ? [.. directory.EnumerateFiles().OrderBy(f => f.Name, StringComparer.Ordinal)] : [];
    }

    private TrustedEntry[] Read(FileInfo file)
    {
        try
        {
            return [.. CertificateFiles.Read(File.ReadAllBytes(file.FullName)).Select(static c => new TrustedEntry(c, "folder"))];
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            LogUnreadable(log, file.Name, e.Message);
            return [];
        }
    }

    private TrustedEntry? Load(TrustedCertificate row)
    {
        try
        {
            return new TrustedEntry(X509CertificateLoader.LoadCertificate(row.Der.Span), "store");
        }
        catch (CryptographicException e)
        {
            LogUnreadable(log, row.Thumbprint, e.Message);
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Trusting {Certificates} certificates of {Files} files for endorsement keys")]
    private static partial void LogRead(ILogger log, int certificates, int files);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The trust file '{Name}' is no certificate and is left out: {Why}")]
    private static partial void LogUnreadable(ILogger log, string name, string why);
}

/// <summary>Certificates as people have them.</summary>
internal static class CertificateFiles
{
    /// <summary>One in DER, or several in PEM.</summary>
    /// <exception cref="CryptographicException">There is none.</exception>
    public static IReadOnlyList<X509Certificate2> Read(ReadOnlySpan<byte> bytes)
    {
        if (bytes.IndexOf("-----BEGIN CERTIFICATE"u8) < 0)
            return [X509CertificateLoader.LoadCertificate(bytes)];

        var all = new X509Certificate2Collection();
        all.ImportFromPem(System.Text.Encoding.UTF8.GetString(bytes));
        return [.. all];
    }
}

using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Functions.Hosting;

/// <summary>
/// A certificate of somebody else's authority, from files: instances that answer under one name have one. What renews it replaces the files, and new
/// connections get it within a minute. The former one is never disposed: a connection may be at its handshake with it.
/// </summary>
internal sealed partial class GivenCertificate
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromMinutes(1);

    private readonly string _certificatePath;
    private readonly string _keyPath;
    private readonly TimeProvider _clock;
    private readonly ILogger<GivenCertificate> _log;
    private readonly Lock _lock = new();
    private string _text;
    private SslStreamCertificateContext _current;
    private long _lookedAt;

    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="InvalidDataException">There is no certificate in it, or the key is another's.</exception>
    public GivenCertificate(string certificatePath, string keyPath, TimeProvider clock, ILogger<GivenCertificate> log)
    {
        (_certificatePath, _keyPath, _clock, _log) = (certificatePath, keyPath, clock, log);
        _text = ReadText();
        _current = Parse();
        _lookedAt = clock.GetTimestamp();
    }

    /// <summary>For the next connection: the server's certificate, and its issuers' as far as they are in the file.</summary>
    public SslStreamCertificateContext Current
    {
        get
        {
            lock (_lock)
            {
                if (_clock.GetElapsedTime(_lookedAt) >= LookEvery)
                {
                    _lookedAt = _clock.GetTimestamp();
                    Look();
                }

                return _current;
            }
        }
    }

    // By content: where files are exchanged by a link to a folder, as Kubernetes does it, their own times say nothing.
    private void Look()
    {
        try
        {
            if (ReadText() is var text && text != _text)
            {
                _current = Parse();
                _text = text; // after it: of two files that are being exchanged one may be new, and the next look has both
                var until = _current.TargetCertificate.NotAfter.ToUniversalTime();
                LogRenewed(_log, until);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            LogKept(_log, e.Message);
        }
    }

    private string ReadText() => File.ReadAllText(_certificatePath) + File.ReadAllText(_keyPath);

    private SslStreamCertificateContext Parse()
    {
        try
        {
            var leaf = X509Certificate2.CreateFromPemFile(_certificatePath, _keyPath);
            var all = new X509Certificate2Collection();
            all.ImportFromPemFile(_certificatePath);
            var issuers = new X509Certificate2Collection(all.Skip(1).ToArray());
            return SslStreamCertificateContext.Create(leaf, issuers, offline: true); // nothing is fetched: the file has what clients need
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new InvalidDataException($"'{_certificatePath}' and '{_keyPath}' are no certificate with its key, in PEM: {e.Message}", e);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "The server's certificate was renewed: it is good until {Until:u}")]
    private static partial void LogRenewed(ILogger log, DateTime until);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The server's certificate has changed and cannot be read; the former one stays: {Why}")]
    private static partial void LogKept(ILogger log, string why);
}

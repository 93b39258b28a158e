using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Functions.Hosting;

/// <summary>
/// A certificate authority for one service, made at its first start, and the server's certificate, made anew before it expires.
/// Agents and operators are given <c>ca.pem</c>.
/// </summary>
internal sealed class LocalCertificates : IDisposable
{
    private const int AuthorityYears = 20;
    private const int ServerDays = 397;
    private const int RenewBeforeDays = 30;
    private const string ServerAuthentication = "1.3.6.1.5.5.7.3.1"; // id-kp-serverAuth, RFC 5280, 4.2.1.12

    private readonly string _folder;
    private readonly string[] _names;
    private readonly TimeProvider _clock;
    private readonly X509Certificate2 _authority;
    private readonly Lock _lock = new();
    private X509Certificate2 _server;
    private SslStreamCertificateContext _context;

    public LocalCertificates(string folder, IEnumerable<string> names, TimeProvider clock)
    {
        (_folder, _clock) = (folder, clock);
        _names = [.. new[] { "localhost", "127.0.0.1", "::1", Dns.GetHostName() }.Concat(names).Distinct(StringComparer.OrdinalIgnoreCase)];
        _authority = Load("ca.pem", "ca.key") ?? CreateAuthority();
        _server = Load("server.pem", "server.key") is { } kept && IsGood(kept) ? kept : CreateServer();
        _context = ContextOf(_server);
    }

    /// <summary>The certificate for the next connection, as a handshake wants it: made once, so that none builds a chain of its own and a client that comes again can go on with its session.</summary>
    public SslStreamCertificateContext Context
    {
        get
        {
            lock (_lock)
            {
                if (!IsFresh(_server))
                {
                    _server = CreateServer(); // the old one stays alive for the connections that use it
                    _context = ContextOf(_server);
                }

                return _context;
            }
        }
    }

    public void Dispose()
    {
        _authority.Dispose();
        _server.Dispose();
    }

    private static SslStreamCertificateContext ContextOf(X509Certificate2 server) => SslStreamCertificateContext.Create(server, null, offline: true); // clients have the CA

    private bool IsFresh(X509Certificate2 certificate) =>
        _clock.GetUtcNow().UtcDateTime is var now
        && certificate.NotBefore.ToUniversalTime() <= now && certificate.NotAfter.ToUniversalTime().AddDays(-RenewBeforeDays) > now;

    private bool IsGood(X509Certificate2 certificate) =>
        IsFresh(certificate)
        && certificate.IssuerName.RawData.AsSpan().SequenceEqual(_authority.SubjectName.RawData)
        && _names.All(name => certificate.MatchesHostname(name, allowWildcards: false, allowCommonName: false));

    private X509Certificate2? Load(string certificate, string key)
    {
        var (certificatePath, keyPath) = (Path.Combine(_folder, certificate), Path.Combine(_folder, key));
        return File.Exists(certificatePath) && File.Exists(keyPath) ? X509Certificate2.CreateFromPemFile(certificatePath, keyPath) : null;
    }

    private X509Certificate2 CreateAuthority()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var serial = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));
        var request = new CertificateRequest($"CN=Keylime.Serverless local CA {serial}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));

        var now = _clock.GetUtcNow();
        var certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddYears(AuthorityYears));
        Save("ca.pem", "ca.key", certificate, key);
        return certificate;
    }

    private X509Certificate2 CreateServer()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=keylime-service", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        foreach (var name in _names)
        {
            if (IPAddress.TryParse(name, out var address))
                names.AddIpAddress(address);
            else
                names.AddDnsName(name);
        }

        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(ServerAuthentication)], false));
        request.CertificateExtensions.Add(X509AuthorityKeyIdentifierExtension.CreateFromCertificate(_authority, true, false));

        var now = _clock.GetUtcNow();
        using var issued = request.Create(_authority, now.AddDays(-1), now.AddDays(ServerDays), RandomNumberGenerator.GetBytes(16));
        var certificate = issued.CopyWithPrivateKey(key);
        Save("server.pem", "server.key", certificate, key);
        return certificate;
    }

    // The key first: a certificate without its key would be taken for a whole pair.
    private void Save(string certificatePath, string keyPath, X509Certificate2 certificate, ECDsa key)
    {
        PrivateFiles.Write(Path.Combine(_folder, keyPath), System.Text.Encoding.ASCII.GetBytes(key.ExportPkcs8PrivateKeyPem() + "\n"));
        PrivateFiles.Write(Path.Combine(_folder, certificatePath), System.Text.Encoding.ASCII.GetBytes(certificate.ExportCertificatePem() + "\n"));
    }
}

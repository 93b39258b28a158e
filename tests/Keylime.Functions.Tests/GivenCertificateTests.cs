using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Functions.Hosting;
using Keylime.Testing;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>A certificate from files, as instances behind one name have it; and the health check, which wants that very certificate.</summary>
public sealed class GivenCertificateTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("given-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Certificate => Path.Combine(_folder, "tls.crt");

    private string Key => Path.Combine(_folder, "tls.key");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task The_service_answers_with_it_and_its_issuer_and_makes_no_authority_of_its_own()
    {
        using var issuer = TestCertificates.MakeIntermediate();
        using var leaf = IssuedBy(issuer);
        Put(leaf, issuer);
        var options = new ServiceOptions { Data = Path.Combine(_folder, "data"), Listen = new Uri("https://127.0.0.1:0"), TlsCertificate = Certificate, TlsKey = Key };
        await using (var service = Service.Build(options))
        {
            await service.StartAsync(Cancel);
            var url = new Uri(service.Urls.Single());
            using var socket = new System.Net.Sockets.TcpClient();
            await socket.ConnectAsync(url.Host, url.Port, Cancel);
            X509Certificate2[] shown = [];
            await using var tls = new SslStream(socket.GetStream(), false, (_, certificate, chain, _) =>
            {
                shown = [.. chain!.ChainPolicy.ExtraStore.Select(static c => X509CertificateLoader.LoadCertificate(c.RawData)), X509CertificateLoader.LoadCertificate(certificate!.GetRawCertData())];
                return true; // what is shown is looked at below
            });
            await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "localhost" }, Cancel);
            Assert.Contains(leaf.Thumbprint, shown.Select(static c => c.Thumbprint));
            Assert.Contains(issuer.Thumbprint, shown.Select(static c => c.Thumbprint));
            Assert.False(File.Exists(Path.Combine(options.Data, "ca.pem")));

            Assert.Null(await HealthProbe.AskAsync(options, Cancel));
            using var other = TestCertificates.ServerOf("localhost");
            Put(other); // somebody else at that port
            Assert.NotNull(await HealthProbe.AskAsync(options, Cancel));
        }

        Assert.NotNull(await HealthProbe.AskAsync(options, Cancel)); // nobody is there
    }

    [Fact]
    public async Task The_health_check_finds_the_service_with_a_certificate_of_its_own_and_notices_that_its_store_is_gone()
    {
        var options = new ServiceOptions { Data = Path.Combine(_folder, "data"), Listen = new Uri("https://0.0.0.0:0") };
        await using var service = Service.Build(options);
        await service.StartAsync(Cancel);
        Assert.Null(await HealthProbe.AskAsync(options, Cancel));
        await File.WriteAllTextAsync(Path.Combine(options.Data, "url"), "nothing", Cancel);
        Assert.NotNull(await HealthProbe.AskAsync(options, Cancel));
    }

    [Fact]
    public void A_renewed_one_is_taken_within_a_minute_and_a_broken_one_is_not()
    {
        using var first = TestCertificates.ServerOf("first");
        using var second = TestCertificates.ServerOf("second");
        Put(first);
        var clock = new FakeTimeProvider();
        var given = new GivenCertificate(Certificate, Key, clock, NullLogger<GivenCertificate>.Instance);
        Assert.Equal(first.Thumbprint, given.Current.TargetCertificate.Thumbprint);

        File.WriteAllText(Certificate, second.ExportCertificatePem()); // and not yet its key
        clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(first.Thumbprint, given.Current.TargetCertificate.Thumbprint);
        Put(second);
        Assert.Equal(first.Thumbprint, given.Current.TargetCertificate.Thumbprint);
        clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(second.Thumbprint, given.Current.TargetCertificate.Thumbprint);
        File.Delete(Key);
        clock.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(second.Thumbprint, given.Current.TargetCertificate.Thumbprint);
    }

    [Theory]
    [InlineData("", "key")]
    [InlineData("certificate", "")]
    [InlineData("certificate", "other key")]
    public void What_is_no_certificate_with_its_key_is_told_at_the_start(string certificate, string key)
    {
        using var leaf = TestCertificates.ServerOf("localhost");
        using var other = TestCertificates.ServerOf("localhost");
        File.WriteAllText(Certificate, certificate.Length == 0 ? "" : leaf.ExportCertificatePem());
        File.WriteAllText(Key, key.Length == 0 ? "" : (key == "key" ? leaf : other).GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        var told = Assert.Throws<InvalidDataException>(() => new GivenCertificate(Certificate, Key, TimeProvider.System, NullLogger<GivenCertificate>.Instance));
        Assert.Contains(Certificate, told.Message, StringComparison.Ordinal);
    }

    private static X509Certificate2 IssuedBy(X509Certificate2 issuer)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var issued = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256).Create(issuer, issuer.NotBefore, issuer.NotAfter, [1]);
        return issued.CopyWithPrivateKey(key);
    }

    private void Put(X509Certificate2 leaf, params X509Certificate2[] issuers)
    {
        File.WriteAllText(Certificate, string.Join('\n', [leaf.ExportCertificatePem(), .. issuers.Select(static c => c.ExportCertificatePem())]));
        File.WriteAllText(Key, leaf.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
    }
}

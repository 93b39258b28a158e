using System.Net;
using System.Security.Cryptography.X509Certificates;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>The embedded default: one directory, closed to others, and everything in it.</summary>
public sealed class HostingTests
{
    [Fact]
    public async Task The_data_directory_is_closed_and_tells_what_clients_need()
    {
        await using var service = await TestService.StartAsync();
        Assert.Equal("700", Mode(service.Folder));
        foreach (var secret in (string[])["operator.token", "ca.key", "server.key", "keys/mac.key"])
            Assert.Equal("600", Mode(Path.Combine(service.Folder, secret)));
        Assert.Equal(service.Url.GetLeftPart(UriPartial.Authority), (await File.ReadAllTextAsync(Path.Combine(service.Folder, "url"), TestContext.Current.CancellationToken)).Trim());

        var health = (await service.Anonymous.SendAsync("GET", "/health")).Expect(HttpStatusCode.OK);
        Assert.Equal("ok", health["status"]!.GetValue<string>());
        Assert.Equal("sqlite", health["store"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_restart_keeps_keys_tokens_and_authority()
    {
        var folder = Directory.CreateTempSubdirectory("restart-").FullName;
        try
        {
            Dictionary<string, byte[]> before;
            await using (var service = await TestService.StartAsync(folder: folder))
                before = Secrets(service.Folder);
            Assert.False(File.Exists(Path.Combine(folder, "url")));
            await using var again = await TestService.StartAsync(folder: folder);
            Assert.Equal(before, Secrets(folder));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        static Dictionary<string, byte[]> Secrets(string folder) => ((string[])["operator.token", "ca.pem", "server.pem", "keys/mac.key"])
            .ToDictionary(name => name, name => File.ReadAllBytes(Path.Combine(folder, name)));
    }

    [Fact]
    public async Task A_directory_that_others_may_enter_is_refused()
    {
        var folder = Directory.CreateTempSubdirectory("open-").FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, "something"), "", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(folder, (UnixFileMode)0b111_101_101);
        var refused = Assert.Throws<IOException>(() => Service.Build(new ServiceOptions { Data = folder, Listen = new Uri("https://127.0.0.1:0") }));
        Assert.Contains("0700", refused.Message, StringComparison.Ordinal);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void The_servers_certificate_is_made_anew_before_it_expires()
    {
        var folder = Directory.CreateTempSubdirectory("certificates-").FullName;
        var clock = new FakeTimeProvider(TimeProvider.System.GetUtcNow());
        using (var certificates = new LocalCertificates(folder, ["attest.example"], clock))
        {
            var first = certificates.Server;
            Assert.True(first.MatchesHostname("attest.example"));
            Assert.Same(first, certificates.Server);
            clock.Advance(TimeSpan.FromDays(370));
            var second = certificates.Server;
            Assert.NotEqual(first.Thumbprint, second.Thumbprint);
            using var chain = new X509Chain();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.VerificationTime = clock.GetUtcNow().UtcDateTime;
            chain.ChainPolicy.CustomTrustStore.ImportFromPemFile(Path.Combine(folder, "ca.pem"));
            Assert.True(chain.Build(second));
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_store_that_does_not_answer_is_told_and_decides_nothing()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await TestAgent.EnrolledAsync(service, "node");
        service.Get<Storage.Sqlite.SqliteDatabase>().Dispose();
        // A disposed database throws what a bug would; a locked or damaged file throws what this one does.
        await Assert.ThrowsAnyAsync<Exception>(() => service.Get<IStoreHealth>().CheckAsync(TestContext.Current.CancellationToken));
        var reply = await agent.AskAsync();
        Assert.InRange((int)reply.Status, 500, 503);
    }

    [Theory]
    [InlineData("--listen", "http://127.0.0.1:1")]
    [InlineData("--listen", "https://example.org:1")]
    [InlineData("--interval", "0")]
    [InlineData("--interval", "soon")]
    [InlineData("--colour", "red")]
    [InlineData("data", "/tmp")]
    [InlineData("--data")]
    public void An_option_that_is_none_is_an_error(params string[] args)
    {
        Assert.False(ServiceOptions.TryParse(args, _ => null, out _, out var error));
        Assert.NotEmpty(error);
    }

    [Fact]
    public void The_command_line_is_over_the_environment()
    {
        string? Environment(string name) => name switch { "KEYLIME_SERVICE_INTERVAL" => "7", "KEYLIME_SERVICE_SAN" => "a,b", _ => null };
        Assert.True(ServiceOptions.TryParse(["--interval", "9"], Environment, out var options, out _));
        Assert.Equal(TimeSpan.FromSeconds(9), options.Interval);
        Assert.Equal(["a", "b"], options.Names);
    }

    private static string Mode(string path) => Convert.ToString((int)File.GetUnixFileMode(path), 8);
}

using System.Collections.Immutable;
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
            var first = certificates.Context;
            Assert.True(first.TargetCertificate.MatchesHostname("attest.example"));
            Assert.Same(first, certificates.Context);
            clock.Advance(TimeSpan.FromDays(370));
            var second = certificates.Context;
            Assert.NotEqual(first.TargetCertificate.Thumbprint, second.TargetCertificate.Thumbprint);
            using var chain = new X509Chain();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.VerificationTime = clock.GetUtcNow().UtcDateTime;
            chain.ChainPolicy.CustomTrustStore.ImportFromPemFile(Path.Combine(folder, "ca.pem"));
            Assert.True(chain.Build(second.TargetCertificate));
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

    // Which kinds are named, and which of ek-key, ek-list, ek-certificate, iak-certificate are then taken.
    [Theory]
    [InlineData("", "ek-certificate iak-certificate")]
    [InlineData("ek-certificate", "ek-certificate")]
    [InlineData("iak-certificate", "iak-certificate")]
    [InlineData("ek-list", "ek-list ek-certificate iak-certificate")]
    [InlineData("ek-key", "ek-key ek-list ek-certificate iak-certificate")]
    [InlineData("ek-certificate,ek-key", "ek-key ek-list ek-certificate iak-certificate")]
    public void Nobody_is_refused_for_being_known_better(string named, string taken)
    {
        string[] args = named.Length == 0 ? [] : ["--accept-identity", named];
        Assert.True(Settings.TryRead(args, ImmutableDictionary<string, string>.Empty, out var options, out _));
        Assert.Equal(taken.Split(' '), ((string[])["ek-key", "ek-list", "ek-certificate", "iak-certificate"]).Where(name => options.Accepts(IdentityNames.Parse(name))));
        Assert.False(options.Accepts(Attestation.IdentityLevel.None));
    }

    [Fact]
    public async Task That_weak_identities_are_taken_is_said_at_every_start_and_that_none_are_is_not()
    {
        await using (var strict = await TestService.StartAsync(configure: o => o with { AcceptedIdentities = [] }))
            Assert.DoesNotContain(strict.Log.All, line => line.Contains("without a maker's certificate", StringComparison.Ordinal));
        await using var weak = await TestService.StartAsync();
        Assert.Contains(weak.Log.All, line => line.StartsWith("Warning", StringComparison.Ordinal) && line.Contains("ek-key, ek-list", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_first_token_that_was_revoked_does_not_come_back_with_the_next_start()
    {
        var folder = Directory.CreateTempSubdirectory("revoke-").FullName;
        try
        {
            string first, own;
            await using (var service = await TestService.StartAsync(folder: folder))
            {
                first = service.TokenOf("operator");
                own = (await service.Operator.SendAsync("POST", "/v1/tokens", new System.Text.Json.Nodes.JsonObject { ["name"] = "alice", ["role"] = "operator" }))
                    .Expect(HttpStatusCode.Created)["token"]!.GetValue<string>();
                using var alice = service.CreateClient(own);
                Assert.Equal(HttpStatusCode.NoContent, (await alice.SendAsync("DELETE", "/v1/tokens/operator")).Status);
                Assert.Equal(HttpStatusCode.Unauthorized, (await service.Operator.SendAsync("GET", "/v1/nodes")).Status);
                Assert.Equal(HttpStatusCode.NoContent, (await alice.SendAsync("DELETE", "/v1/tokens/operator")).Status); // and again
                Assert.Equal(1, (await ReadEventsAsync(alice)).Count(t => t == "token.revoked"));
            }

            await using (var again = await TestService.StartAsync(folder: folder))
            {
                Assert.Equal(first, again.TokenOf("operator"));
                Assert.Equal(HttpStatusCode.Unauthorized, (await again.Operator.SendAsync("GET", "/v1/nodes")).Status);
                using var alice = again.CreateClient(own);
                (await alice.SendAsync("GET", "/v1/nodes")).Expect(HttpStatusCode.OK);
            }

            // Whoever may delete the file gets another one, as ever.
            File.Delete(Path.Combine(folder, "operator.token"));
            await using var anew = await TestService.StartAsync(folder: folder);
            Assert.NotEqual(first, anew.TokenOf("operator"));
            (await anew.Operator.SendAsync("GET", "/v1/nodes")).Expect(HttpStatusCode.OK);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        static async Task<IEnumerable<string>> ReadEventsAsync(HttpClient client) =>
            (await client.SendAsync("GET", "/v1/events")).Expect(HttpStatusCode.OK)["events"]!.AsArray().Select(e => e!["type"]!.GetValue<string>());
    }

    private static string Mode(string path) => Convert.ToString((int)File.GetUnixFileMode(path), 8);
}

using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Keylime.Functions.Keys;
using Keylime.Functions.Keys.Azure;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>What every vault does, on files and on Key Vault's protocol.</summary>
public abstract class VaultContract : IAsyncLifetime
{
    private protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private protected FakeTimeProvider Clock { get; } = new(new DateTimeOffset(2026, 11, 28, 12, 0, 0, TimeSpan.Zero));

    private protected abstract IVault Vault { get; }

    public abstract ValueTask InitializeAsync();

    public abstract ValueTask DisposeAsync();

    [Fact]
    public async Task What_is_wrapped_for_the_public_half_unwraps_and_after_a_rotation_too()
    {
        var (first, secret) = (await Vault.WrappingKeyAsync(Cancel), RandomNumberGenerator.GetBytes(32));
        var wrapped = Wrap(first, secret);
        Assert.Equal(first, await Vault.WrappingKeyAsync(Cancel), SameKey);
        Assert.Equal(secret, await OpenAsync(first.Version, wrapped));

        var second = await Vault.RotateWrappingKeyAsync(Cancel);
        var third = await Vault.RotateWrappingKeyAsync(Cancel); // at the same moment of the clock
        Assert.Equal(3, new[] { first.Version, second.Version, third.Version }.Distinct().Count());
        Assert.Equal(third, await Vault.WrappingKeyAsync(Cancel), SameKey);
        Assert.Equal(secret, await OpenAsync(first.Version, wrapped));
        Assert.Equal(secret, await OpenAsync(third.Version, Wrap(third, secret)));
        Assert.IsType<Unwrapped.NotWrapped>(await Vault.UnwrapAsync(third.Version, wrapped, Cancel));
    }

    [Fact]
    public async Task What_no_version_wrapped_and_what_was_altered_does_not_unwrap()
    {
        var key = await Vault.WrappingKeyAsync(Cancel);
        Assert.IsType<Unwrapped.NoSuchVersion>(await Vault.UnwrapAsync("0123456789abcdef", Wrap(key, new byte[32]), Cancel));
        Assert.IsType<Unwrapped.NoSuchVersion>(await Vault.UnwrapAsync("../" + key.Version, Wrap(key, new byte[32]), Cancel));
        Assert.IsType<Unwrapped.NoSuchVersion>(await Vault.UnwrapAsync("", Wrap(key, new byte[32]), Cancel));
        var altered = Wrap(key, new byte[32]);
        altered[^1] ^= 1;
        Assert.IsType<Unwrapped.NotWrapped>(await Vault.UnwrapAsync(key.Version, altered, Cancel));
    }

    [Fact]
    public async Task What_is_signed_verifies_with_the_public_half()
    {
        var key = await Vault.SigningKeyAsync(Cancel);
        var data = "what is told"u8.ToArray();
        var signature = await Vault.SignAsync(data, Cancel);
        Assert.Equal(key.Version, signature.Version);
        using var ecdsa = ECDsa.Create();
        ecdsa.ImportSubjectPublicKeyInfo(key.PublicKey.Span, out _);
        Assert.True(ecdsa.VerifyData(data, signature.Signature.Span, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation));
        Assert.False(ecdsa.VerifyData("what is not"u8, signature.Signature.Span, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation));
    }

    private protected static byte[] Wrap(VaultKey key, byte[] secret)
    {
        using var rsa = RSA.Create();
        rsa.ImportSubjectPublicKeyInfo(key.PublicKey.Span, out _);
        Assert.Equal(3072, rsa.KeySize);
        return rsa.Encrypt(secret, RSAEncryptionPadding.OaepSHA256);
    }

    private protected async Task<byte[]> OpenAsync(string version, byte[] wrapped) => Assert.IsType<Unwrapped.Key>(await Vault.UnwrapAsync(version, wrapped, Cancel)).Value;

    private static bool SameKey(VaultKey one, VaultKey other) => one.Version == other.Version && one.PublicKey.Span.SequenceEqual(other.PublicKey.Span);
}

/// <summary>Keys in files.</summary>
public sealed class LocalVaultTests : VaultContract
{
    private readonly string _folder = Directory.CreateTempSubdirectory("vault-").FullName;
    private LocalVault? _vault;

    private protected override IVault Vault => _vault!;

    private string Keys => Path.Combine(_folder, "keys");

    public override ValueTask InitializeAsync()
    {
        _vault = new LocalVault(Keys, Clock);
        return default;
    }

    public override ValueTask DisposeAsync()
    {
        _vault!.Dispose();
        Directory.Delete(_folder, recursive: true);
        return default;
    }

    [Fact]
    public async Task Keys_are_closed_to_others_and_there_after_a_restart()
    {
        var (wrap, sign) = (await Vault.WrappingKeyAsync(Cancel), await Vault.SigningKeyAsync(Cancel));
        Assert.All(Directory.GetFiles(Keys), static path => Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path)));
        using var again = new LocalVault(Keys, Clock);
        Assert.Equal((wrap.Version, sign.Version), ((await again.WrappingKeyAsync(Cancel)).Version, (await again.SigningKeyAsync(Cancel)).Version));
    }

    [Fact]
    public async Task A_clock_that_was_set_back_makes_no_older_version()
    {
        var first = await Vault.WrappingKeyAsync(Cancel);
        using var yesterday = new LocalVault(Keys, new FakeTimeProvider(Clock.GetUtcNow().AddDays(-1)));
        var second = await yesterday.RotateWrappingKeyAsync(Cancel);
        Assert.Equal(second.Version, (await Vault.WrappingKeyAsync(Cancel)).Version);
        Assert.NotEqual(first.Version, second.Version);
    }

    [Fact]
    public async Task A_damaged_file_is_in_the_way_of_its_own_version_only()
    {
        var first = await Vault.WrappingKeyAsync(Cancel);
        var second = await Vault.RotateWrappingKeyAsync(Cancel);
        await File.WriteAllTextAsync(Path.Combine(Keys, $"wrap-{second.Version}.p8"), "nothing", Cancel);
        Assert.Equal(first.Version, (await Vault.WrappingKeyAsync(Cancel)).Version);
        Assert.IsType<Unwrapped.NoSuchVersion>(await Vault.UnwrapAsync(second.Version, Wrap(second, new byte[32]), Cancel));
        Assert.Equal(new byte[32], await OpenAsync(first.Version, Wrap(first, new byte[32])));
        using (var small = RSA.Create(1024))
            await File.WriteAllBytesAsync(Path.Combine(Keys, $"wrap-{first.Version}.p8"), small.ExportPkcs8PrivateKey(), Cancel);
        await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel));
        await File.WriteAllTextAsync(Path.Combine(Keys, $"wrap-{first.Version}.p8"), "nothing", Cancel);
        await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel)); // and none is made in their place
    }

    [Fact]
    public async Task A_key_of_another_curve_signs_nothing()
    {
        var key = await Vault.SigningKeyAsync(Cancel);
        foreach (var curve in (ECCurve[])[ECCurve.NamedCurves.nistP384, ECCurve.NamedCurves.brainpoolP256r1])
        {
            using var other = ECDsa.Create(curve);
            await File.WriteAllBytesAsync(Path.Combine(Keys, $"sign-{key.Version}.p8"), other.ExportPkcs8PrivateKey(), Cancel);
            await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.SignAsync(new byte[3], Cancel));
        }
    }
}

/// <summary>Key Vault's protocol.</summary>
public sealed class KeyVaultTests : VaultContract
{
    private VaultServer? _server;
    private KeyVault? _vault;

    private protected override IVault Vault => _vault!;

    public override async ValueTask InitializeAsync()
    {
        _server = await VaultServer.StartAsync();
        _vault = Connect();
    }

    public override async ValueTask DisposeAsync()
    {
        Assert.Empty(_server!.Violations);
        await _server.DisposeAsync();
    }

    [Fact]
    public async Task The_first_request_goes_without_token_and_body_and_later_ones_with_both()
    {
        var key = await Vault.WrappingKeyAsync(Cancel);
        await OpenAsync(key.Version, Wrap(key, new byte[32]));
        Assert.Equal(3, _server!.Requests.Count); // a challenge, the key, the unwrapping
        Assert.StartsWith($"POST /keys/keylime-wrap/{key.Version}/unwrapkey {{\"alg\":\"RSA-OAEP-256\",\"value\":\"", _server.Requests.Last(), StringComparison.Ordinal);

        // Another instance begins with an operation: its body waits for the challenge.
        await Connect().UnwrapAsync(key.Version, Wrap(key, new byte[32]), Cancel);
        Assert.EndsWith("/unwrapkey ", _server.Requests.ElementAt(3), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_challenge_for_tokens_of_another_domain_gets_none()
    {
        _server!.ChallengeResource = "https://vault.evil.example";
        Assert.Contains("no domain that", (await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel))).Message, StringComparison.Ordinal);
        _server.ChallengeResource = "https://azure.net";
        await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel)); // the credential has none for that
        Assert.DoesNotContain(_server.Requests, static r => r.Contains(VaultServer.Token, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(403, "Forbidden", "KeyDisabled", true)]
    [InlineData(403, "Forbidden", "KeyExpired", true)]
    [InlineData(404, "KeyNotFound", null, true)]
    [InlineData(409, "Conflict", "ObjectIsDeletedButRecoverable", true)]
    [InlineData(403, "Forbidden", "ForbiddenByRbac", false)]
    [InlineData(403, "Forbidden", "ForbiddenByFirewall", false)]
    [InlineData(500, "InternalServerError", null, false)]
    public async Task A_version_that_is_gone_is_said_to_be_and_a_right_that_is_missing_is_no_answer(int status, string code, string? inner, bool gone)
    {
        var key = await Vault.WrappingKeyAsync(Cancel);
        _server!.Gone[key.Version] = (status, code, inner);
        if (gone)
            Assert.Contains(inner is null || status == 409 ? code : inner, Assert.IsType<Unwrapped.NoSuchVersion>(await Vault.UnwrapAsync(key.Version, Wrap(key, new byte[32]), Cancel)).Detail, StringComparison.Ordinal);
        else
            Assert.Contains($"{status}", (await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.UnwrapAsync(key.Version, Wrap(key, new byte[32]), Cancel))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_vault_that_throttles_is_left_alone_for_as_long_as_it_says()
    {
        var key = await Vault.WrappingKeyAsync(Cancel);
        _server!.Instead = static async context =>
        {
            context.Response.Headers.RetryAfter = "17";
            await VaultServer.ErrorAsync(context, 429, "Throttled", null);
            return true;
        };
        Assert.Equal(TimeSpan.FromSeconds(17), (await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.UnwrapAsync(key.Version, Wrap(key, new byte[32]), Cancel))).RetryAfter);
        var asked = _server.Requests.Count;
        Clock.Advance(TimeSpan.FromSeconds(7));
        Assert.Equal(TimeSpan.FromSeconds(10), (await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.UnwrapAsync(key.Version, Wrap(key, new byte[32]), Cancel))).RetryAfter);
        Assert.Equal(asked, _server.Requests.Count);
        _server.Instead = static _ => Task.FromResult(false);
        Clock.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(new byte[32], await OpenAsync(key.Version, Wrap(key, new byte[32])));
    }

    [Fact]
    public async Task How_long_a_vault_rests_does_not_hang_on_the_clock_on_the_wall()
    {
        var set = new ClockThatIsSet();
        var vault = new KeyVault(VaultServer.Url, "keylime-wrap", "keylime-sign", VaultServer.Credential(), set, _server!.Transport());
        await vault.WrappingKeyAsync(Cancel);
        _server.Instead = static async context =>
        {
            context.Response.Headers.RetryAfter = "1";
            await VaultServer.ErrorAsync(context, 429, "Throttled", null);
            return true;
        };
        await Assert.ThrowsAsync<VaultUnavailableException>(() => vault.UnwrapAsync("a", new byte[384], Cancel));
        _server.Instead = static _ => Task.FromResult(false);
        set.Step = TimeSpan.FromDays(-1);
        await Task.Delay(TimeSpan.FromSeconds(1.2), Cancel);
        Assert.IsType<Unwrapped.NoSuchVersion>(await vault.UnwrapAsync("a", new byte[384], Cancel));
    }

    [Theory]
    [InlineData("Sat, 28 Nov 2026 12:00:20 GMT", 20)]
    [InlineData("Sat, 28 Nov 2026 11:00:00 GMT", 0)]
    [InlineData("Sun, 29 Nov 2026 12:00:00 GMT", 300)]
    [InlineData("2000000000", 300)]
    [InlineData("soon", 1)]
    [InlineData(null, 1)]
    public async Task A_rest_is_read_in_seconds_or_as_a_date_and_has_a_bound(string? said, int seconds)
    {
        _server!.Instead = async context =>
        {
            context.Response.Headers.RetryAfter = said;
            await VaultServer.ErrorAsync(context, 503, "ServiceUnavailable", null);
            return true;
        };
        Assert.Equal(TimeSpan.FromSeconds(seconds), (await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel))).RetryAfter);
    }

    [Theory]
    [InlineData("""{"enabled":false}""", false)]
    [InlineData("""{"enabled":false}""", true)]
    [InlineData("""{"enabled":true,"exp":1700000100}""", false)]
    [InlineData("""{"enabled":true,"nbf":2000000000}""", false)]
    public async Task Where_the_newest_version_is_not_to_be_used_the_newest_of_the_others_is(string attributes, bool refused)
    {
        _server!.RefusesDisabled = refused;
        var first = await Vault.WrappingKeyAsync(Cancel);
        var versions = new List<VaultKey>();
        for (var i = 0; i < 4; i++)
            versions.Add(await Vault.RotateWrappingKeyAsync(Cancel));
        foreach (var version in versions[2..])
            _server.Attributes[version.Version] = JsonNode.Parse(attributes)!.AsObject();

        var used = await Connect().WrappingKeyAsync(Cancel);
        Assert.Equal(versions[1].Version, used.Version);
        Assert.Equal(versions[1].PublicKey.ToArray(), used.PublicKey.ToArray());
        Assert.Equal(new byte[32], await OpenAsync(used.Version, Wrap(used, new byte[32])));

        foreach (var version in versions.Append(first))
            _server.Attributes[version.Version] = JsonNode.Parse(attributes)!.AsObject();
        Assert.Contains("no version of the key 'keylime-wrap'", (await Assert.ThrowsAsync<VaultUnavailableException>(() => Connect().WrappingKeyAsync(Cancel))).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("https://elsewhere.example/keys/keylime-sign/versions")]
    [InlineData("http://team.vault.azure.net/keys/keylime-sign/versions")]
    [InlineData("https://team.vault.azure.net:444/keys/keylime-sign/versions")]
    [InlineData("https://team.vault.azure.net/keys/keylime-wrap/versions")]
    [InlineData("versions?page=2")]
    [InlineData("https://team.vault.azure.net/keys/keylime-sign/versions?api-version=7.4&$skiptoken=1&maxresults=25")] // and there on and on
    public async Task A_list_goes_on_at_the_same_vault_and_not_for_ever(string link)
    {
        _server!.Attributes[_server.Newest(wrap: false)] = JsonNode.Parse("""{"enabled":false}""")!.AsObject();
        _server.NextLink = link;
        await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.SigningKeyAsync(Cancel));
        Assert.InRange(_server.Requests.Count, 3, 50);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_vault_that_hangs_is_no_key_after_its_time_and_whoever_asked_may_go_before(bool begins)
    {
        var hanging = new SemaphoreSlim(0);
        _server!.Instead = async context =>
        {
            if (begins)
            {
                await context.Response.WriteAsync("{");
                await context.Response.Body.FlushAsync();
            }

            hanging.Release();
            await Task.WhenAny(Task.Delay(Timeout.Infinite, context.RequestAborted));
            return true;
        };
        var asking = Vault.WrappingKeyAsync(Cancel);
        await hanging.WaitAsync(Cancel);
        Clock.Advance(TimeSpan.FromSeconds(10));
        Assert.Contains("within 10 s", (await Assert.ThrowsAsync<VaultUnavailableException>(() => asking.WaitAsync(TimeSpan.FromSeconds(5), Cancel))).Message, StringComparison.Ordinal);

        using var gone = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        asking = Vault.WrappingKeyAsync(gone.Token);
        await hanging.WaitAsync(Cancel);
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => asking.WaitAsync(TimeSpan.FromSeconds(5), Cancel));
    }

    [Theory]
    [InlineData(200, "nothing of JSON")]
    [InlineData(200, "{}")]
    [InlineData(200, """{"key":{"kid":"https://team.vault.azure.net/keys/keylime-wrap/a","kty":"EC"}}""")]
    [InlineData(200, """{"key":{"kid":"https://team.vault.azure.net/keys/keylime-wrap/a","kty":"RSA","n":"AQAB","e":"AQAB"}}""")]
    [InlineData(200, """{"key":{"kid":"https://team.vault.azure.net/keys/keylime-wrap/","kty":"RSA","n":"AQAB","e":"AQAB"}}""")]
    [InlineData(302, "")]
    [InlineData(503, "")]
    public async Task Garbage_is_no_key(int status, string body)
    {
        _server!.Instead = async context =>
        {
            context.Response.StatusCode = status;
            context.Response.Headers.Location = "https://elsewhere.example/";
            await context.Response.WriteAsync(body);
            return true;
        };
        await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel));
    }

    [Fact]
    public async Task A_vault_that_answers_without_end_or_has_gone_is_no_key()
    {
        _server!.Instead = static async context =>
        {
            for (var i = 0; i < 64; i++)
                await context.Response.WriteAsync(new string(' ', 64 * 1024));
            return true;
        };
        await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel));
        await using (var other = await VaultServer.StartAsync())
            _vault = new KeyVault(VaultServer.Url, "keylime-wrap", "keylime-sign", VaultServer.Credential(), Clock, other.Transport());
        await Assert.ThrowsAsync<VaultUnavailableException>(() => Vault.WrappingKeyAsync(Cancel));
    }

    /// <summary>Somebody sets the clock on the wall; the time that goes by is the real one.</summary>
    private sealed class ClockThatIsSet : TimeProvider
    {
        public TimeSpan Step { get; set; }

        public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + Step;
    }

    private KeyVault Connect() => new(VaultServer.Url, "keylime-wrap", "keylime-sign", VaultServer.Credential(), Clock, _server!.Transport());
}

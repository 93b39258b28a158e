using System.Collections.Immutable;
using System.Net;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>What several instances of the service share: a master key in their store, which only their vault opens; and an operator's token that was made before there was a service.</summary>
public sealed class KeyRingTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Instances_that_share_store_and_vault_share_a_master_key_that_the_store_alone_does_not_give()
    {
        await using var service = await TestService.StartAsync();
        await using var server = await VaultServer.StartAsync();
        var vault = new Keys.Azure.KeyVault(VaultServer.Url, "keylime-wrap", "keylime-sign", VaultServer.Credential(), service.Clock, server.Transport());
        var store = service.Get<IRecordStore<WrappedMasterKey>>();
        var rings = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => KeyRing.LoadOrCreateAsync(store, vault, service.Clock, Cancel))); // all at once
        var secret = "a webhook's secret"u8.ToArray();
        var sealedSecret = rings[0].Seal("webhook", secret);
        Assert.All(rings, ring => Assert.Equal(secret, ring.Open("webhook", sealedSecret)));
        Assert.All(rings, ring => Assert.Equal(rings[0].Authenticate("session", secret), ring.Authenticate("session", secret)));
        Assert.Null(rings[1].Open("another purpose", sealedSecret));

        // The vault's key is rotated: what was wrapped stays what it is.
        await vault.RotateWrappingKeyAsync(Cancel);
        Assert.Equal(secret, (await KeyRing.LoadOrCreateAsync(store, vault, service.Clock, Cancel)).Open("webhook", sealedSecret));

        // A version that is gone stops the start, and is named; no other key is made in its place.
        var version = (await store.FindAsync(WrappedMasterKey.OnlyName, Cancel))!.Value.KeyVersion;
        server.Gone[version] = (403, "Forbidden", "KeyDisabled");
        Assert.Contains(version, (await Assert.ThrowsAsync<InvalidDataException>(() => KeyRing.LoadOrCreateAsync(store, vault, service.Clock, Cancel))).Message, StringComparison.Ordinal);
        server.Gone.Clear();
        Assert.Equal(secret, (await KeyRing.LoadOrCreateAsync(store, vault, service.Clock, Cancel)).Open("webhook", sealedSecret));
        Assert.Empty(server.Violations);
    }

    [Fact]
    public async Task A_vault_of_another_service_does_not_open_the_store()
    {
        await using var service = await TestService.StartAsync();
        var (one, other) = (Directory.CreateTempSubdirectory("vault-").FullName, Directory.CreateTempSubdirectory("vault-").FullName);
        using var own = new LocalVault(one, service.Clock);
        using var strange = new LocalVault(other, service.Clock);
        var store = service.Get<IRecordStore<WrappedMasterKey>>();
        await KeyRing.LoadOrCreateAsync(store, own, service.Clock, Cancel);
        await Assert.ThrowsAsync<InvalidDataException>(() => KeyRing.LoadOrCreateAsync(store, strange, service.Clock, Cancel));
        Directory.Delete(one, recursive: true);
        Directory.Delete(other, recursive: true);
    }

    [Fact]
    public async Task A_token_that_was_prepared_opens_a_new_service_which_makes_none_of_its_own()
    {
        await using var elsewhere = await TestService.StartAsync(); // the tool asks no service for it
        using var tool = new OperatorTool(elsewhere);
        var setting = (await tool.DoAsync("token", "prepare", "deployer", "--token-file", tool.PathOf("token"))).Trim();
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(tool.PathOf("token")));
        Assert.True(Settings.TryRead(["--operator-token", setting], ImmutableDictionary<string, string>.Empty, out var options, out var errors), string.Join('\n', errors));

        var folder = Directory.CreateTempSubdirectory("prepared-").FullName;
        foreach (var role in (string[])["operator", "approver", "auditor"])
            await File.WriteAllTextAsync(Path.Combine(folder, role + ".token"), "none\n", Cancel); // the test's own clients look there
        await using (var service = await TestService.StartAsync(folder: folder, clock: new FakeTimeProvider(elsewhere.Clock.GetUtcNow()), configure: o => o with { OperatorToken = options.OperatorToken }))
        {
            using var client = service.CreateClient((await File.ReadAllTextAsync(tool.PathOf("token"), Cancel)).Trim());
            Assert.Equal(["deployer"], (await client.SendAsync("GET", "/v1/tokens")).Expect(HttpStatusCode.OK)["tokens"]!.AsArray().Select(static t => t!["name"]!.GetValue<string>()));
            Assert.Equal(HttpStatusCode.Unauthorized, (await service.Operator.SendAsync("GET", "/v1/tokens")).Status);
        }

        Directory.Delete(folder, recursive: true);
        foreach (var bad in (string[])["deployer", "deployer:00", $"a/b:{new string('0', 64)}", $"deployer:{new string('g', 64)}"])
            Assert.False(Settings.TryRead(["--operator-token", bad], ImmutableDictionary<string, string>.Empty, out _, out _));
    }
}

using Keylime.Functions.Storage;
using Keylime.Functions.Storage.Azure;
using Keylime.Functions.Tests;
using Keylime.Testing;

[assembly: AssemblyFixture(typeof(AzuriteFixture))]

namespace Keylime.Functions.Tests;

/// <summary>One emulator for all tests of this assembly.</summary>
public sealed class AzuriteFixture : IAsyncLifetime
{
    public Azurite Azurite { get; private set; } = null!; // InitializeAsync

    public async ValueTask InitializeAsync() => Azurite = await Azurite.StartAsync(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "tests", "azurite"), CancellationToken.None);

    public ValueTask DisposeAsync() => Azurite.DisposeAsync();

    /// <summary>Accounts of their own, ready to be used.</summary>
    internal async Task<AzureAccounts> NewAccountsAsync(int count, Action<Azure.Core.ClientOptions>? configure = null)
    {
        var accounts = AzureAccounts.Create(Azurite.NewAccounts(count).Select(c => AzureAccounts.FromConnectionString(c, configure)));
        await accounts.PrepareAsync(StoreServices.Kinds, TestContext.Current.CancellationToken);
        return accounts;
    }
}

namespace Keylime.Functions.Storage.Azure;

/// <summary>Whether each account answers a point read.</summary>
internal sealed class AzureHealth(AzureAccounts accounts) : IStoreHealth
{
    public string Name => "azure-tables";

    public Task CheckAsync(CancellationToken cancel) =>
        Task.WhenAll(accounts.All.Select(account => account.Table(AzureAccounts.Nodes).FindAsync("health", "health", cancel)));
}

using Keylime.Tenant.Entra;

namespace Keylime.Tenant;

/// <summary>What opens the service at each moment: the token that was given, or one of Entra ID, which is renewed when it is about to end.</summary>
internal sealed class TokenSource(Login login) : IDisposable
{
    private readonly SemaphoreSlim _renewing = new(1);
    private EntraLogin? _entra = login.Entra;

    /// <returns><see langword="null"/> for who has not signed in yet.</returns>
    /// <exception cref="CliException">Entra ID gives none.</exception>
    public async ValueTask<string?> GetAsync(CancellationToken cancel)
    {
        if (login.Keeper is not { } surroundings || _entra is null)
            return login.Entra?.AccessToken ?? login.Token;
        await _renewing.WaitAsync(cancel);
        try
        {
            if (_entra.HoldsAt(surroundings.Clock.GetUtcNow()))
                return _entra.AccessToken;
            using var client = new EntraClient(surroundings, _entra.Way);
            _entra = await client.RenewAsync(_entra, cancel);
            login.KeepEntra(surroundings, _entra);
            return _entra.AccessToken;
        }
        finally
        {
            _renewing.Release();
        }
    }

    public void Dispose() => _renewing.Dispose();
}

using System.Net;
using System.Security.Cryptography;
using Keylime.Protocol.Payloads;
using Keylime.Tpm;

namespace Keylime.Agent.Payloads;

/// <summary>
/// Keeps the payloads of this machine as the service wants them: fetches those that are missing after an attestation that passed, wipes those that are not meant for it any
/// more. The keys are asked for and unsealed in the agent's round, for they take the TPM; the contents come beside it. Whatever goes wrong here stops no attestation.
/// </summary>
internal sealed class PayloadKeeper : IAsyncDisposable
{
    private static readonly TimeSpan LongestRest = TimeSpan.FromHours(1);

    private readonly PayloadService _service;
    private readonly PayloadNotes _notes;
    private readonly string _path;
    private readonly TimeProvider _time;
    private readonly Dictionary<PayloadOffer, byte[]> _challenges = []; // of what was asked for and is not here yet
    private CancellationTokenSource _stop = new();
    private Task _work = Task.CompletedTask; // what it touches nobody else does until it has ended
    private string? _digest;
    private bool _complete;
    private int _failures;
    private DateTimeOffset _notBefore;

    /// <param name="path">The directory; empty where this machine takes no payloads.</param>
    public PayloadKeeper(string path, ServiceClient client, TimeProvider time)
    {
        (_path, _time, _service) = (path, time, new PayloadService(client, time));
        _notes = new PayloadNotes(_service);
    }

    /// <summary>Removes what an earlier run, that was killed, left half done. Its payloads stay until the first verdict says otherwise.</summary>
    public void Start()
    {
        try
        {
            PayloadStore.OpenExisting(_path)?.Dispose();
        }
        catch (Exception e) when (IsTrouble(e))
        {
            _notes.Say("", e.Message);
        }
    }

    /// <summary>After an attestation that passed.</summary>
    /// <param name="digest">Of what is meant for this machine, as the service's answer has it; <see langword="null"/> where nothing is.</param>
    public async Task FollowAsync(PayloadCaller caller, string? digest, TpmClient tpm, MachineKeys keys, CancellationToken cancel)
    {
        if (_path.Length == 0)
        {
            if (digest is not null)
                _notes.Say("", "there are some for this machine, but payload_dir is empty: it takes none.");
            return;
        }

        if (!_work.IsCompleted)
            return; // whatever is new is looked at once that is here
        await _work;
        if (digest != _digest)
            (_digest, _complete, _failures, _notBefore) = (digest, false, 0, default);
        if (_complete || _time.GetUtcNow() < _notBefore)
            return;

        try
        {
            if (digest is null && IsEmpty())
                _complete = true;
            else
                await PrepareAsync(caller, new PayloadRelease(tpm, keys), cancel);
        }
        catch (Exception e) when (IsTrouble(e))
        {
            Trouble("", e);
        }
        finally
        {
            await ReleaseKeyAsync(keys);
        }
    }

    /// <summary>Wipes all payloads, before anything else is done; then tells the service.</summary>
    public async Task WipeAsync(string why, PayloadCaller caller, CancellationToken cancel)
    {
        if (_path.Length == 0)
            return;
        await StopAsync();
        (_complete, _digest) = (false, null);
        try
        {
            using var store = PayloadStore.OpenExisting(_path);
            if (store?.Wipe(static _ => true) is { Count: > 0 and var wiped })
                Log.Warning($"{why} Payloads wiped: {wiped}.");
            if (store is not null && caller.Token() is not null)
                await TellAsync(caller, store, cancel);
        }
        catch (Exception e) when (IsTrouble(e))
        {
            _notes.Say("", e.Message);
        }
    }

    /// <summary>When what was begun has ended, well or not.</summary>
    public Task CompletedAsync(CancellationToken cancel) => _work.WaitAsync(cancel);

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
    }

    private bool IsEmpty()
    {
        using var store = PayloadStore.OpenExisting(_path);
        return store is null or { IsEmpty: true };
    }

    private async Task PrepareAsync(PayloadCaller caller, PayloadRelease release, CancellationToken cancel)
    {
        var offers = await _service.OffersAsync(caller, cancel);
        if (await OpenAsync(caller, offers, cancel) is not { } store)
            return;
        var opened = new List<OpenedRelease>();
        try
        {
            var names = offers.Select(static o => o.Name).ToHashSet();
            foreach (var held in store.Wipe(h => !names.Contains(h.Name)))
                Log.Info($"Payload '{held.Name}' is not meant for this machine any more: wiped.");
            foreach (var former in _challenges.Keys.Except(offers).ToArray())
                _challenges.Remove(former);
            var all = await AskAsync(caller, release, [.. offers.Where(o => !store.Has(o.Name, o.Version))], opened, cancel);
            _work = Task.Run(() => WorkAsync(caller, store, opened, all, _stop.Token), CancellationToken.None);
        }
        catch
        {
            Discard(store, opened);
            throw;
        }
    }

    // A directory that cannot be one: the service hears of it for each payload that should be there.
    private async Task<PayloadStore?> OpenAsync(PayloadCaller caller, IReadOnlyList<PayloadOffer> offers, CancellationToken cancel)
    {
        try
        {
            return PayloadStore.Open(_path);
        }
        catch (IOException e)
        {
            _notes.Say("", e is PayloadDirectoryException { Hint: var hint } ? $"{e.Message} Next: {hint}." : e.Message);
            Rest(null);
            foreach (var offer in offers)
                await _notes.ReportFailureAsync(caller, offer, null, e.Message, cancel);
            return null;
        }
    }

    /// <returns>Whether all of them are opened now.</returns>
    private async Task<bool> AskAsync(PayloadCaller caller, PayloadRelease release, IReadOnlyList<PayloadOffer> missing, List<OpenedRelease> opened, CancellationToken cancel)
    {
        foreach (var offer in missing)
        {
            string? number = null;
            try
            {
                var challenge = ChallengeOf(offer);
                var released = await _service.ReleaseAsync(caller, offer, challenge, cancel);
                number = released.Release;
                opened.Add(await release.OpenAsync(caller.Id, offer, released, challenge, cancel));
            }
            catch (ServiceRefusedException e) when (e.Status is HttpStatusCode.Forbidden or HttpStatusCode.Conflict or HttpStatusCode.NotFound)
            {
                _challenges.Remove(offer);
                _notes.Say(offer.Name, $"not released: {e.Message}"); // no failure of ours; the next round asks again
            }
            catch (Exception e) when (e is TpmRefusedException or TpmFormatException or PayloadException or CryptographicException)
            {
                _challenges.Remove(offer); // whatever was answered is worth nothing from here on
                Trouble(offer.Name, e);
                await _notes.ReportFailureAsync(caller, offer, number, e.Message, cancel);
            }
            catch (Exception e) when (e is HttpRequestException or ServiceRefusedException)
            {
                Trouble(offer.Name, e);
                break; // the others would fare no better
            }
        }

        return opened.Count == missing.Count;
    }

    private async Task WorkAsync(PayloadCaller caller, PayloadStore store, List<OpenedRelease> opened, bool all, CancellationToken cancel)
    {
        try
        {
            foreach (var release in opened)
                all &= await WriteAsync(caller, store, release, cancel);
            await TellAsync(caller, store, cancel);
            _complete = all;
        }
        catch (OperationCanceledException)
        {
            // the agent stops, or wipes
        }
        catch (Exception e) when (IsTrouble(e))
        {
            Trouble("", e);
        }
        finally
        {
            Discard(store, opened);
        }
    }

    // A payload that is released once is released again to the same challenge only: an answer that was lost, or a fetch that broke off, is not the end of it.
    private byte[] ChallengeOf(PayloadOffer offer)
    {
        if (!_challenges.TryGetValue(offer, out var challenge))
            _challenges[offer] = challenge = RandomNumberGenerator.GetBytes(PayloadBinding.ChallengeSize);
        return challenge;
    }

    private async Task<bool> WriteAsync(PayloadCaller caller, PayloadStore store, OpenedRelease release, CancellationToken cancel)
    {
        var offer = release.Offer;
        try
        {
            await using var parts = _service.Open(caller, release);
            await store.WriteAsync(offer, release.Release, file => PayloadCipher.OpenAsync(parts, file, release.Key, cancel));
            _notes.Forget(offer.Name);
            _challenges.Remove(offer);
            Log.Info($"Payload '{offer.Name}', version {offer.Version}, {offer.Size} bytes, is here.");
            return true;
        }
        catch (Exception e) when (IsTrouble(e))
        {
            Trouble(offer.Name, e);
            await _notes.ReportFailureAsync(caller, offer, release.Release, e.Message, cancel);
            return false;
        }
    }

    private async Task TellAsync(PayloadCaller caller, PayloadStore store, CancellationToken cancel)
    {
        foreach (var payload in store.Untold)
        {
            await _service.ReportAsync(caller, payload.Name, new PayloadReport(payload.Version, payload.Gone ? PayloadOutcome.Wiped : PayloadOutcome.Written) { Release = payload.Release }, cancel);
            store.MarkTold(payload);
        }
    }

    private static void Discard(PayloadStore store, List<OpenedRelease> opened)
    {
        foreach (var release in opened)
            CryptographicOperations.ZeroMemory(release.Key);
        store.Dispose();
    }

    private async Task StopAsync()
    {
        await _stop.CancelAsync();
        await _work;
        _stop.Dispose();
        _stop = new CancellationTokenSource();
    }

    private static async Task ReleaseKeyAsync(MachineKeys keys)
    {
        try
        {
            await keys.ReleaseEndorsementKeyAsync(CancellationToken.None);
        }
        catch (Exception e) when (e is IOException or TpmRefusedException or TpmFormatException)
        {
            // the next command will tell what became of the TPM
        }
    }

    private void Trouble(string name, Exception e)
    {
        _notes.Say(name, e.Message);
        Rest((e as ServiceRefusedException)?.RetryAfter);
    }

    // The first failure may be the last, so the next round tries again; what goes on failing is tried less and less often.
    private void Rest(TimeSpan? asked)
    {
        var rest = TimeSpan.FromMinutes(Math.Pow(2, Math.Min(_failures++, 10)) - 1);
        if (asked > rest)
            rest = asked.Value;
        _notBefore = _time.GetUtcNow() + (rest < LongestRest ? rest : LongestRest);
    }

    private static bool IsTrouble(Exception e) => e is IOException or UnauthorizedAccessException or HttpRequestException or ServiceRefusedException
        or TpmRefusedException or TpmFormatException or PayloadFormatException or PayloadException or CryptographicException;
}

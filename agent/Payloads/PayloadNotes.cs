using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Payloads;

/// <summary>What was said last about each payload: what goes on being wrong is said, in the log and to the service, when it changes.</summary>
internal sealed class PayloadNotes(PayloadService service)
{
    private const int MaxDetail = 512;

    private readonly Dictionary<string, string> _logged = [];
    private readonly Dictionary<string, string> _told = [];

    /// <param name="name">Of a payload; empty for all of them.</param>
    public void Say(string name, string what)
    {
        if (_logged.GetValueOrDefault(name) == what)
            return;
        _logged[name] = what;
        Log.Warning($"{(name.Length == 0 ? "Payloads" : $"Payload '{name}'")}: {what}");
    }

    /// <summary>Nothing is wrong with it any more.</summary>
    public void Forget(string name)
    {
        _logged.Remove(name);
        _told.Remove(name);
    }

    public async Task ReportFailureAsync(PayloadCaller caller, PayloadOffer offer, string? release, string why, CancellationToken cancel)
    {
        var known = $"{offer.Version}: {why}";
        if (_told.GetValueOrDefault(offer.Name) == known)
            return;
        try
        {
            await service.ReportAsync(caller, offer.Name, new PayloadReport(offer.Version, PayloadOutcome.Failed) { Release = release, Detail = why.Length <= MaxDetail ? why : why[..MaxDetail] }, cancel);
            _told[offer.Name] = known;
        }
        catch (Exception e) when (e is HttpRequestException or ServiceRefusedException)
        {
            Say("", $"a failure cannot be told: {e.Message}");
        }
    }
}

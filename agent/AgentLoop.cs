using System.Net;
using Keylime.Agent.Notices;
using Keylime.Agent.Payloads;
using Keylime.Protocol;
using Keylime.Protocol.Notices;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>Registers, proves, attests, for ever; whatever fails is tried again, from as far back as it takes.</summary>
internal sealed class AgentLoop(AgentOptions options, Func<ITpmDevice> openTpm, ImaLogFile ima, byte[] uefiLog, DateTimeOffset bootTime, TimeProvider time)
{
    /// <summary>What one round came to: see <c>keylime-agent --help</c>.</summary>
    public const int Passed = 0;

    public const int Failed = 3;

    // What the service calls it when a node's attestations are refused because it is retired.
    private const string Disabled = "agent_attestations_disabled";

    private readonly Backoff _backoff = new(
        TimeSpan.FromMilliseconds(options.ExponentialBackoffInitialDelay),
        TimeSpan.FromMilliseconds(options.ExponentialBackoffMaxDelay),
        new Random());

    /// <summary>What notices of other machines start here.</summary>
    public ActionFolder? Actions { get; init; } = options.NoticeActionsDir.Length > 0 ? new ActionFolder(options.NoticeActionsDir) : null;

    /// <summary>Told before each pause, with its length.</summary>
    public Action<TimeSpan> Resting { get; init; } = static _ => { };

    private AgentId _id;
    private NoticeInbox? _notices;
    private bool _registered;
    private SessionToken? _token;
    private bool _tokenIsNew;
    private string? _lastEvaluation;

    /// <summary>Attests until it is told to stop, or once.</summary>
    /// <returns>With <paramref name="once"/> the exit code; otherwise it does not return but by <see cref="OperationCanceledException"/>.</returns>
    /// <exception cref="ServiceRefusedException">With <paramref name="once"/>: the service did not take it.</exception>
    public async Task<int> RunAsync(bool once, CancellationToken cancel)
    {
        using var registrar = new ServiceClient(options.RegistrarUrl, options.RegistrarCa);
        using var verifier = new ServiceClient(options.VerifierUrl, options.VerifierCa);
        await using var payloads = new PayloadKeeper(options.PayloadDir, verifier, time);
        payloads.Start();
        try
        {
            return await RunAsync(registrar, verifier, payloads, once, cancel);
        }
        finally
        {
            await (_notices?.Idle ?? Task.CompletedTask); // an action that runs when the agent stops is stopped too
        }
    }

    private async Task<int> RunAsync(ServiceClient registrar, ServiceClient verifier, PayloadKeeper payloads, bool once, CancellationToken cancel)
    {
        while (true)
        {
            try
            {
                return await WithTpmAsync(registrar, verifier, payloads, once, cancel);
            }
            catch (Exception e) when (!once && e is IOException or TpmRefusedException or TpmFormatException or UnauthorizedAccessException)
            {
                var pause = _backoff.Next(null);
                if (e is UnauthorizedAccessException)
                    Log.Error($"{e.Message} It is to belong to the user that the agent runs as ({(options.RunAs.Length > 0 ? options.RunAs : "run_as")}), or to one of its groups. Next try in {pause.TotalSeconds:F0} s.");
                else
                    Log.Error($"TPM: {e.Message} Opened anew in {pause.TotalSeconds:F0} s.");
                Resting(pause);
                await Task.Delay(pause, time, cancel);
            }
        }
    }

    private async Task<int> WithTpmAsync(ServiceClient registrar, ServiceClient verifier, PayloadKeeper payloads, bool once, CancellationToken cancel)
    {
        await using var tpm = new TpmClient(openTpm(), time);
        await tpm.StartupAsync(keepState: false, cancel);
        await tpm.FlushLeftoversAsync(cancel);
        var facts = await MachineFacts.ReadAsync(tpm, cancel);
        var keys = await MachineKeys.OpenAsync(tpm, options, cancel);
        _id = Identify(keys);
        _notices ??= NoticeInbox.Open(options, _id, Actions, time);
        Log.Info($"Agent {_id}, attestation key {Convert.ToHexStringLower(keys.AttestationKey.Name.Span)}.");
        try
        {
            var attestation = new Attestation(verifier, _id, ima, uefiLog, bootTime) { NoticesAfter = () => _notices?.After };
            while (true)
            {
                var (pause, exit) = await RoundAsync(registrar, verifier, payloads, attestation, tpm, facts, keys, once, cancel);
                if (once)
                {
                    await payloads.CompletedAsync(cancel);
                    return exit;
                }

                SmallHeap.Return();
                Resting(pause);
                await Task.Delay(pause, time, cancel);
            }
        }
        finally
        {
            await ReleaseAsync(keys);
        }
    }

    // One round: as much of registration, session and attestation as is needed.
    private async Task<(TimeSpan Pause, int Exit)> RoundAsync(
        ServiceClient registrar, ServiceClient verifier, PayloadKeeper payloads, Attestation attestation, TpmClient tpm, MachineFacts facts, MachineKeys keys,
        bool once, CancellationToken cancel)
    {
        var caller = new PayloadCaller(_id, () => _token?.Value);
        try
        {
            if (!_registered)
            {
                await new Registration(registrar, options).RegisterAsync(_id, tpm, keys, cancel);
                _registered = true;
            }

            if (_token is null || time.GetUtcNow() >= _token.RenewAt)
            {
                _token = await new Session(verifier, time).OpenAsync(_id, tpm, keys.AttestationKey, cancel);
                _tokenIsNew = true;
                if (_token is null)
                {
                    // So it looks to a node that was retired while it was away.
                    await payloads.WipeAsync("The service does not know this machine.", caller, cancel);
                    return NotEnrolled(once);
                }
            }

            var outcome = await attestation.RunAsync(tpm, facts, keys.AttestationKey, _token.Value, cancel);
            _tokenIsNew = false;
            if (outcome.TokenLifetime is { } lifetime)
                _token = _token.Until(time.GetUtcNow() + lifetime);
            _backoff.Reset();
            if (outcome.Evaluation == "fail")
                await payloads.WipeAsync("This machine is not trusted.", caller, cancel);
            Report(outcome);
            _notices?.Take(outcome.Notices, (after, stop) => AskForNoticesAsync(verifier, after, stop), cancel);
            if (outcome.Evaluation == "pass")
                await payloads.FollowAsync(caller, outcome.Payloads, tpm, keys, cancel);
            return (Interval(outcome.Next), outcome.Evaluation == "fail" ? Failed : Passed);
        }
        catch (ServiceRefusedException e)
        {
            if (e is { Status: HttpStatusCode.Forbidden, ErrorCode: Disabled })
                await payloads.WipeAsync("This machine is retired.", caller, cancel);
            if (once)
                throw;
            return (After(e), Failed);
        }
        catch (HttpRequestException e) when (!once)
        {
            var pause = _backoff.Next(null);
            Log.Warning($"The service cannot be reached: {e.Message} Next try in {pause.TotalSeconds:F0} s.");
            return (pause, Failed);
        }
    }

    private async Task<NoticeBatch> AskForNoticesAsync(ServiceClient verifier, long after, CancellationToken cancel)
    {
        var answer = await verifier.SendAsync(HttpMethod.Get, $"v3.0/agents/{_id}/notices?after={after}", null, _token?.Value, static s => s == HttpStatusCode.OK, cancel);
        return ServiceClient.Read(answer, NoticeBatchJson.Default.NoticeBatch, "notices");
    }

    private TimeSpan After(ServiceRefusedException refusal)
    {
        switch (refusal.Status)
        {
            case HttpStatusCode.Unauthorized when !_tokenIsNew:
                // The token ran out: another one, at once. If that one is refused too the pauses below hold.
                (_token, _tokenIsNew) = (null, true);
                return TimeSpan.Zero;
            case HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden:
                _token = null;
                break;
            case HttpStatusCode.NotFound or HttpStatusCode.Gone:
                (_token, _registered) = (null, false); // whoever was there has forgotten this machine
                break;
        }

        var pause = _backoff.Next(refusal.RetryAfter);
        Log.Warning($"{refusal.Message} Next try in {pause.TotalSeconds:F0} s.");
        return pause;
    }

    private (TimeSpan Pause, int Exit) NotEnrolled(bool once)
    {
        _registered = false; // the registrar may have lost it; to register again with the same keys changes nothing
        var message = $"The service does not take the proof of possession: {_id} is not enrolled, or with another key.";
        var hint = $"an operator admits it, or its new key, with: keylime node approve {_id}";
        if (once)
            throw new ServiceRefusedException("session", null, null, message) { Hint = hint };

        var pause = _backoff.Next(null);
        Log.Warning($"{message} Next try in {pause.TotalSeconds:F0} s; {hint}");
        return (pause, Failed);
    }

    private void Report(AttestationOutcome outcome)
    {
        var evaluation = outcome.Evaluation ?? "accepted"; // a service that judges later says no more
        foreach (var finding in evaluation == "fail" ? outcome.Findings : [])
            Log.Warning($"Not trusted: {finding.Code}: {finding.Detail}");
        if (evaluation != "fail" && evaluation != _lastEvaluation)
            Log.Info($"Attested: {evaluation}.");
        _lastEvaluation = evaluation;
    }

    // Never earlier than told; a little later, each time another little, so that a fleet spreads out.
    private TimeSpan Interval(TimeSpan? told)
    {
        var interval = told is { } t && t > TimeSpan.Zero ? t : TimeSpan.FromSeconds(options.AttestationIntervalSeconds);
        return interval * (1 + Random.Shared.NextDouble() * 0.05);
    }

    private AgentId Identify(MachineKeys keys)
    {
        switch (options.Uuid)
        {
            case "hash_ek":
                return AgentId.Parse(keys.EkHash);
            case "generate":
                // Made once and kept: an id that changed at each start would be another node each time.
                if (!File.Exists(options.UuidPath))
                    AgentData.SaveFile(options.UuidPath, System.Text.Encoding.ASCII.GetBytes(Guid.NewGuid().ToString()));
                return AgentId.TryParse(File.ReadAllText(options.UuidPath).Trim(), null, out var id)
                    ? id
                    : throw new OptionsException($"{options.UuidPath} holds no agent id.", "remove the file, and one is made");
            default:
                return AgentId.Parse(options.Uuid);
        }
    }

    private static async Task ReleaseAsync(MachineKeys keys)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        try
        {
            await keys.ReleaseAsync(limit.Token);
        }
        catch (Exception e) when (e is IOException or TpmRefusedException or TpmFormatException or OperationCanceledException)
        {
            // The TPM is gone, or slow: the next start flushes what is left.
        }
    }
}

using System.Security.Cryptography;
using Keylime.Functions.Storage;
using Keylime.Functions.Telemetry;
using Keylime.Protocol.Payloads;
using Payload = Keylime.Functions.Storage.Payload;

namespace Keylime.Functions.Payloads;

/// <summary>
/// What was decided on requests for payloads, and what became of it. A decision stands here, and is told, before the agent hears of it; so nothing is released
/// that nobody can read of.
/// </summary>
internal sealed class ReleaseLedger(IRecordStore<Release> rows, IRecordStore<PayloadClaim> claims, IEventStore events, Instruments instruments, TimeProvider clock)
{
    public const string Granted = "granted";
    public const string AlreadyReleased = "already_released";

    private const int MaxTries = 5;

    /// <summary>Keeps a no. The same no to the same node stands here once a minute: an agent asks again and again.</summary>
    public async Task<Release> WithholdAsync(Payload payload, Node node, string code, string detail, CancellationToken cancel)
    {
        var now = clock.GetUtcNow();
        var minute = new DateTimeOffset(now.UtcTicks - now.UtcTicks % TimeSpan.TicksPerMinute, TimeSpan.Zero);
        var release = Make(payload, node, minute, code, code, detail);
        await KeepAsync(release, cancel);
        instruments.Released(granted: false, code);
        return release;
    }

    /// <summary>Keeps a yes, unless the payload is released once and was.</summary>
    /// <returns>The release; or <see langword="null"/> and the one that was first.</returns>
    public async Task<(Release? Release, Release? Former)> TryGrantAsync(Payload payload, Node node, ReadOnlyMemory<byte> challenge, string detail, CancellationToken cancel)
    {
        var hash = SHA256.HashData(challenge.Span);
        var release = Make(payload, node, clock.GetUtcNow(), Convert.ToHexStringLower(hash.AsSpan(0, 4)), Granted, detail) with { Granted = true, ChallengeHash = hash };
        if (payload.Terms.Once && !await claims.TryAddAsync(new PayloadClaim { Release = release }, cancel))
        {
            var first = (await claims.FindAsync(PayloadShare.KeyOf(payload.Name, payload.Version, node.Id), cancel))?.Value.Release
                ?? throw new StorageUnavailableException($"The claim of {node.Id} on '{payload.Name}' has gone.");
            await KeepAsync(first, cancel); // whoever made it may have died before it was told
            if (!CryptographicOperations.FixedTimeEquals(first.ChallengeHash.Span, hash))
                return (null, first);
            release = first; // the same agent, that did not get the answer
        }

        await KeepAsync(release, cancel);
        instruments.Released(granted: true, Granted);
        return (release, null);
    }

    /// <summary>Keeps what an agent says became of a release: first that it has it or has not, later perhaps that it wiped it. What is said otherwise changes nothing.</summary>
    /// <returns><see langword="false"/> if there is no such release.</returns>
    public async Task<bool> ReportAsync(string payload, Node node, PayloadReport report, CancellationToken cancel)
    {
        if (report.Release is not { } number)
        {
            await events.AddAsync(EventRecord.OncePerMinute(node.Id.ToString(), clock.GetUtcNow(), TypeOf(report.Outcome), Words(payload, report.Version, report.Outcome, report.Detail), Cause(payload, report.Version, "-")), cancel);
            return true;
        }

        for (var tries = 0; tries < MaxTries; tries++)
        {
            if (await rows.FindAsync(Release.KeyOf(payload, number, node.Id), cancel) is not { Value: { Granted: true } release } stored)
                return false;
            if (release.Outcome is { } known)
            {
                await TellAsync(release); // a crash may have left it out, and what comes next is in its place
                if (known == report.Outcome || report.Outcome != PayloadOutcome.Wiped)
                    return true;
            }

            var next = release with { Outcome = report.Outcome, Report = report.Detail, ReportedAt = clock.GetUtcNow() };
            if (!await rows.TryReplaceAsync(stored, next, cancel))
                continue;
            await TellAsync(next);
            return true;
        }

        throw new StorageUnavailableException($"The release {number} of '{payload}' changed {MaxTries} times while a report was to be written.");
    }

    private Task TellAsync(Release release) => events.AddAsync(
        EventRecord.Of(
            release.Node.ToString(), release.ReportedAt!.Value, TypeOf(release.Outcome!.Value), Words(release.Payload, release.Version, release.Outcome.Value, release.Report),
            Cause(release.Payload, release.Version, release.Number)),
        CancellationToken.None);

    private static string TypeOf(PayloadOutcome outcome) => outcome switch
    {
        PayloadOutcome.Written => EventTypes.PayloadDelivered,
        PayloadOutcome.Wiped => EventTypes.PayloadWiped,
        _ => EventTypes.PayloadNotOpened,
    };

    private static string Words(string payload, long version, PayloadOutcome outcome, string? detail)
    {
        var words = outcome switch
        {
            PayloadOutcome.Written => "The agent has",
            PayloadOutcome.Wiped => "The agent wiped",
            _ => "The agent could not open",
        };
        return $"{words} '{payload}', version {version}{(detail is { Length: > 0 } ? $": {detail}" : ".")}";
    }

    private static Release Make(Payload payload, Node node, DateTimeOffset at, string cause, string code, string detail) => new()
    {
        Payload = payload.Name,
        Version = payload.Version,
        Node = node.Id,
        Number = $"{EventRecord.TimeKey(at)}-{cause}",
        At = at,
        Granted = false,
        Code = code,
        Detail = detail,
        Attestation = node.Last?.Attestation,
    };

    // The same event and the same row however often it is kept.
    private async Task KeepAsync(Release release, CancellationToken cancel)
    {
        await events.AddAsync(
            EventRecord.Of(
                release.Node.ToString(), release.At, release.Granted ? EventTypes.PayloadReleased : EventTypes.PayloadWithheld,
                $"'{release.Payload}', version {release.Version}: {release.Detail}", Cause(release.Payload, release.Version, release.Number[(EventRecord.TimeDigits + 1)..])),
            cancel);
        await rows.TryAddAsync(release, cancel);
    }

    private static string Cause(string payload, long version, string rest) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{payload}.{version}.{rest}");
}

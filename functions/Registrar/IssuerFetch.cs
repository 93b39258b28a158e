using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Registrar;

/// <summary>
/// Gets issuers' certificates from where endorsement certificates say they are, if the operator wants that. What comes back only completes chains:
/// it is never trusted for having come.
/// </summary>
internal sealed partial class IssuerFetch(Outbound outbound, ServiceOptions options, TimeProvider clock, ILogger<IssuerFetch> log)
{
    private const int MaxBytes = 64 * 1024;
    private const int MaxKept = 256;
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10); // of one registration, whatever its certificates say
    private static readonly TimeSpan KeptFor = TimeSpan.FromDays(1);
    private static readonly TimeSpan MissingFor = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<Uri, (long At, X509Certificate2[] Certificates)> _kept = new();

    /// <summary>What the first of these addresses that has something gives; empty where nothing is fetched.</summary>
    /// <param name="start">When the registration that wants it began to fetch.</param>
    public async Task<IReadOnlyList<X509Certificate2>> FetchAsync(IReadOnlyList<Uri> urls, long start, CancellationToken cancel)
    {
        foreach (var url in options.FetchIssuers ? urls : [])
        {
            if (!_kept.TryGetValue(url, out var kept) || clock.GetElapsedTime(kept.At) > (kept.Certificates.Length > 0 ? KeptFor : MissingFor))
            {
                if (Patience - clock.GetElapsedTime(start) is var left && left <= TimeSpan.Zero)
                    break;
                kept = (clock.GetTimestamp(), await FetchAsync(url, left < Timeout ? left : Timeout, cancel));
                if (_kept.Count >= MaxKept)
                    _kept.Clear(); // strangers name addresses too
                _kept[url] = kept;
            }

            if (kept.Certificates.Length > 0)
                return kept.Certificates;
        }

        return [];
    }

    private async Task<X509Certificate2[]> FetchAsync(Uri url, TimeSpan timeout, CancellationToken cancel)
    {
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            var answer = await outbound.SendAsync(request, plain: true, MaxBytes, timeout, cancel);
            return answer.Status == StatusCodes.Status200OK ? [.. CertificateFiles.Read(answer.Body)] : throw new OutboundException($"It answered {answer.Status}.");
        }
        catch (Exception e) when (e is OutboundException or CryptographicException)
        {
            LogNothing(log, url, e.Message);
            return [];
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "No issuer's certificate from {Url}: {Why}")]
    private static partial void LogNothing(ILogger log, Uri url, string why);
}

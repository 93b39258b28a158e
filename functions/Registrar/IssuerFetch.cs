using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Registrar;

/// <summary>
/// Gets issuers' certificates from where endorsement certificates say they are, if the operator wants that. What comes back only completes chains:
/// it is never trusted for having come.
/// </summary>
internal sealed partial class IssuerFetch(Outbound outbound, ServiceOptions options, ILogger<IssuerFetch> log)
{
    private const int MaxBytes = 64 * 1024;
    private const int MaxKept = 256;
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    private readonly ConcurrentDictionary<Uri, X509Certificate2[]> _kept = new();

    /// <summary>What the first of these addresses that has something gives; empty where nothing is fetched.</summary>
    public async Task<IReadOnlyList<X509Certificate2>> FetchAsync(IReadOnlyList<Uri> urls, CancellationToken cancel)
    {
        foreach (var url in options.FetchIssuers ? urls : [])
        {
            if (_kept.TryGetValue(url, out var kept))
                return kept;
            try
            {
                using var request = new HttpRequestMessage(HttpMethod.Get, url);
                var answer = await outbound.SendAsync(request, plain: true, MaxBytes, Timeout, cancel);
                if (answer.Status != StatusCodes.Status200OK)
                    throw new OutboundException($"It answered {answer.Status}.");
                X509Certificate2[] certificates = [.. CertificateFiles.Read(answer.Body)];
                if (_kept.Count < MaxKept)
                    _kept[url] = certificates;
                return certificates;
            }
            catch (Exception e) when (e is OutboundException or CryptographicException)
            {
                LogNothing(log, url, e.Message);
            }
        }

        return [];
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "No issuer's certificate from {Url}: {Why}")]
    private static partial void LogNothing(ILogger log, Uri url, string why);
}

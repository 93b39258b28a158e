using System.Net;
using System.Security.Cryptography.X509Certificates;

namespace Keylime.Functions.Hosting;

/// <summary>
/// Asks the service that runs on this data directory whether it is well: for a container's health check, in whose image there is no other program. It is asked on this machine,
/// and must have the very certificate that is in the service's files.
/// </summary>
internal static class HealthProbe
{
    public const string Flag = "--check-health";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    /// <returns>Why it is not well; <see langword="null"/> if it is.</returns>
    public static async Task<string?> AskAsync(ServiceOptions options, CancellationToken cancel)
    {
        try
        {
            var url = new Uri((await File.ReadAllTextAsync(Path.Combine(options.Data, "url"), cancel)).Trim());
            using var own = X509Certificate2.CreateFromPem(await File.ReadAllTextAsync(options.TlsCertificate ?? Path.Combine(options.Data, "server.pem"), cancel));
            using var handler = new HttpClientHandler { ServerCertificateCustomValidationCallback = (_, shown, _, _) => shown is not null && shown.RawDataMemory.Span.SequenceEqual(own.RawDataMemory.Span) };
            using var client = new HttpClient(handler) { Timeout = Patience };
            using var answer = await client.GetAsync(new UriBuilder("https", Address(options.Listen), url.Port, "/health").Uri, cancel);
            return answer.IsSuccessStatusCode ? null : $"it answers {(int)answer.StatusCode}: its store does not answer.";
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or UriFormatException or HttpRequestException or TaskCanceledException or System.Security.Cryptography.CryptographicException)
        {
            return e.Message;
        }
    }

    private static string Address(Uri listen) => IPAddress.TryParse(listen.Host.Trim('[', ']'), out var address)
        ? address.Equals(IPAddress.Any) ? "127.0.0.1" : address.Equals(IPAddress.IPv6Any) ? "[::1]" : listen.Host
        : listen.Host;
}

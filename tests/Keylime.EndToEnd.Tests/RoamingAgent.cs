using System.Net;
using Keylime.Testing;

namespace Keylime.EndToEnd.Tests;

/// <summary>A push agent that sends each request to whichever instance there is, as behind a balancer that forgets. What breaks it does again.</summary>
/// <param name="clients">Those that run now.</param>
internal sealed class RoamingAgent(string id, int seed, Func<IReadOnlyList<HttpClient>> clients, CancellationToken test) : WireAgent(id)
{
    private readonly Random _random = new(seed);

    /// <summary>The numbers of its attestations that were accepted: it has the answer.</summary>
    public List<long> Accepted { get; } = [];

    /// <summary>What broke, or was refused for the moment.</summary>
    public int Again { get; private set; }

    protected override CancellationToken Cancel => test;

    /// <summary>Attests whenever it may, until it is stopped.</summary>
    public async Task AttestAsync(Func<bool> goesOn)
    {
        while (goesOn())
        {
            try
            {
                await Task.Delay(await OnceAsync(), test);
            }
            catch (Exception e) when (e is HttpRequestException or IOException || (e is TaskCanceledException && !test.IsCancellationRequested))
            {
                Again++; // whether it arrived nobody knows
                await Task.Delay(_random.Next(20, 200), test);
            }
        }
    }

    /// <returns>How long to wait before the next one.</returns>
    private async Task<TimeSpan> OnceAsync()
    {
        if (Token is null)
        {
            // From one instance to the next: what the first says the others know.
            var (session, challenge) = await OpenSessionAsync();
            var proof = await ProveAsync(session, Proof(challenge));
            Token = proof.Expect(HttpStatusCode.OK)["data"]!["attributes"]!["token"]!.GetValue<string>();
        }

        var reply = await AskAsync();
        if (reply.Status == HttpStatusCode.Created)
        {
            var asked = Read(reply);
            reply = await SubmitAsync(asked, Collect(asked));
            if (reply.Status == HttpStatusCode.Accepted)
            {
                Accepted.Add(long.Parse(asked.Location.Split('/')[^1], System.Globalization.CultureInfo.InvariantCulture));
                return TimeSpan.FromMilliseconds(_random.Next(50));
            }
        }

        switch (reply.Status)
        {
            case HttpStatusCode.TooManyRequests:
                return TimeSpan.FromMilliseconds(_random.Next(200, 600)); // not due yet
            case HttpStatusCode.Unauthorized:
                Token = null;
                return TimeSpan.Zero;
            case HttpStatusCode.Conflict or HttpStatusCode.ServiceUnavailable:
            case HttpStatusCode.Forbidden when reply.Text.Contains("evidence", StringComparison.OrdinalIgnoreCase): // it was taken before, and its answer lost
                Again++;
                return TimeSpan.FromMilliseconds(_random.Next(50, 200));
            default:
                throw new InvalidOperationException($"{Id}: {reply.Status}: {reply.Text}");
        }
    }

    protected override Task<Reply> SendAsync(string method, string path, object? body, string contentType, string? token = null)
    {
        var now = clients();
        return now.Count == 0
            ? throw new HttpRequestException("No instance runs.")
            : Wire.SendAsync(now[_random.Next(now.Count)], method, path, body, contentType, token, test);
    }
}

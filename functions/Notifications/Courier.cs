using System.Net.Http.Headers;
using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Notifications;

/// <summary>Carries one event to one receiver, once. What comes back is a value: nothing that a receiver does is an error here.</summary>
internal sealed class Courier(Outbound outbound, IKeyRing keys, TimeProvider clock, ServiceOptions options)
{
    public const string SecretPurpose = "event webhook";

    /// <summary>So long may a receiver take.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);

    private readonly string _source = options.Names is [var name, ..] ? $"https://{name}/" : options.Listen.AbsoluteUri;

    public async Task<Attempt> SendAsync(Webhook webhook, EventRecord happened, CancellationToken cancel)
    {
        var start = clock.GetTimestamp();
        byte[][] secrets = [.. Secrets(webhook)];
        if (secrets.Length == 0)
            return new Attempt(null, "Its secret cannot be opened: rotate it.", TimeSpan.Zero);

        var body = WebhookBody.Write(happened, _source);
        using var request = new HttpRequestMessage(HttpMethod.Post, webhook.Message.Url) { Content = new ByteArrayContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue(MediaTypes.CloudEvents);
        request.Headers.UserAgent.Add(new ProductInfoHeaderValue("keylime-serverless", ServiceVersion.Text));
        StandardWebhooks.Sign(request, happened.GlobalId, clock.GetUtcNow(), body, secrets);
        try
        {
            var answer = await outbound.SendAsync(request, plain: false, maxBytes: 0, Timeout, cancel);
            return new Attempt(answer.Status, null, clock.GetElapsedTime(start)) { RetryAfter = Wait(answer.RetryAfter) };
        }
        catch (OutboundException e)
        {
            return new Attempt(null, e.Message, clock.GetElapsedTime(start));
        }
    }

    private IEnumerable<byte[]> Secrets(Webhook webhook)
    {
        if (keys.Open(SecretPurpose, webhook.SealedSecret.Span) is { } secret)
            yield return secret;
        if (webhook.FormerUntil > clock.GetUtcNow() && keys.Open(SecretPurpose, webhook.SealedFormerSecret.Span) is { } former)
            yield return former;
    }

    private TimeSpan? Wait(RetryConditionHeaderValue? after) => after?.Delta ?? after?.Date - clock.GetUtcNow();
}

/// <summary>What one attempt gave.</summary>
/// <param name="Status">Of the answer, where there was one.</param>
/// <param name="Error">Why there was none.</param>
internal sealed record Attempt(int? Status, string? Error, TimeSpan Took)
{
    /// <summary>What the receiver asked for.</summary>
    public TimeSpan? RetryAfter { get; init; }

    public bool Delivered => Status is >= 200 and < 300;

    /// <summary>The receiver wants nothing any more.</summary>
    public bool Gone => Status == StatusCodes.Status410Gone;
}

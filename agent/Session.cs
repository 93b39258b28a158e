using System.Net;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>A token, and when it is better to have another one.</summary>
internal sealed record SessionToken(string Value, DateTimeOffset? RenewAt)
{
    // A token that runs out in the middle of a request is no use.
    private static readonly TimeSpan Margin = TimeSpan.FromSeconds(15);

    /// <summary>The token, which is taken up to a moment of this machine's clock.</summary>
    public SessionToken Until(DateTimeOffset end) => this with { RenewAt = end - Margin };
}

/// <summary>Proves possession of the attestation key, which earns a token.</summary>
internal sealed class Session(ServiceClient verifier, TimeProvider time)
{
    private const string Path = "v3.0/sessions";

    /// <returns><see langword="null"/> if the service does not take the proof: mostly because nobody has enrolled the node yet.</returns>
    public async Task<SessionToken?> OpenAsync(AgentId id, TpmClient tpm, LoadedKey key, CancellationToken cancel)
    {
        var opening = new SessionAttributes
        {
            AgentId = id.ToString(),
            AuthenticationSupported = [new AuthenticationMethod(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType)],
        };
        var answer = await verifier.SendAsync(HttpMethod.Post, Path, Body(opening, null), null, IsOk, cancel);
        var opened = ServiceClient.Read(answer, UpstreamJson.Default.DocumentSessionAttributes, "session").Data;
        if (opened.Id is not { Length: > 0 } sessionId
            || opened.Attributes.AuthenticationRequested is not [{ ChosenParameters.Challenge: { Length: > 0 } challenge }, ..])
        {
            throw new ServiceRefusedException("session", null, null, "the answer has no id or no challenge");
        }

        var proof = await tpm.CertifyAsync(key.Handle, key.Handle, challenge, cancel);
        var proving = new SessionAttributes
        {
            AgentId = id.ToString(),
            AuthenticationProvided =
            [
                new AuthenticationMethod(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType)
                {
                    Data = new AuthenticationProof(proof.Message.ToArray(), proof.Signature.ToArray()),
                },
            ],
        };
        answer = await verifier.SendAsync(
            HttpMethod.Patch, $"{Path}/{Uri.EscapeDataString(sessionId)}", Body(proving, sessionId), null,
            static s => IsOk(s) || s == HttpStatusCode.Unauthorized, cancel);
        if (answer.Status == HttpStatusCode.Unauthorized)
            return null;

        var result = ServiceClient.Read(answer, UpstreamJson.Default.DocumentSessionAttributes, "session").Data.Attributes;
        return result is { Evaluation: "pass", Token: { Length: > 0 } token }
            ? Lifetime(result) is { } lifetime ? new SessionToken(token, null).Until(time.GetUtcNow() + lifetime) : new SessionToken(token, null)
            : null;
    }

    // What lives shorter is used until it is refused.
    private static readonly TimeSpan Shortest = TimeSpan.FromSeconds(30);

    // By the service's own clock: this machine's may be wrong.
    private static TimeSpan? Lifetime(SessionAttributes result) =>
        result is { TokenExpiresAt: { } end, ResponseReceivedAt: { } now } && end - now > Shortest ? end - now : null;

    private static bool IsOk(HttpStatusCode status) => (int)status is >= 200 and < 300;

    private static HttpContent Body(SessionAttributes attributes, string? id) => ServiceClient.Json(
        new Document<SessionAttributes>(new Resource<SessionAttributes>("session", attributes) { Id = id }),
        UpstreamJson.Default.DocumentSessionAttributes,
        jsonApi: true);
}

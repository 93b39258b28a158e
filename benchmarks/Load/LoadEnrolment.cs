using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Benchmarks.Load;

/// <summary>The way into the fleet by the protocol: registration, activation, enrolment, session.</summary>
/// <param name="operatorToken">Of an operator.</param>
internal sealed class LoadEnrolment(LoadClient client, string operatorToken)
{
    public async Task PutPolicyAsync(MeasuredList list, CancellationToken cancel) =>
        Want(await client.SendAsync(HttpMethod.Put, $"/v1/policies/{MeasuredList.PolicyName}", LoadClient.Json(list.Policy, "application/json"), operatorToken, cancel), "the policy", 200, 201);

    public async Task EnrolAsync(LoadNode node, int intervalSeconds, CancellationToken cancel)
    {
        var registration = new JsonObject
        {
            ["ekcert"] = "",
            ["ek_tpm"] = Convert.ToBase64String(node.Tpm.EndorsementKey.EncodeSized()),
            ["aik_tpm"] = Convert.ToBase64String(node.Tpm.AttestationKey.EncodeSized()),
            ["mtls_cert"] = "disabled",
            ["ip"] = "127.0.0.1",
            ["port"] = 9002,
        };
        var answer = Want(await SendAsync(HttpMethod.Post, $"/v2.6/agents/{node.Id}", registration, null, cancel), "the registration", 200);
        var blob = JsonSerializer.Deserialize(answer.Body, UpstreamJson.Default.EnvelopeRegisterResults)!.Results.Blob;
        var secret = Encoding.ASCII.GetBytes(Convert.ToBase64String(node.Tpm.ActivateCredential(CredentialBlob.Parse(blob))));
        var tag = Convert.ToHexStringLower(HMACSHA384.HashData(secret, Encoding.UTF8.GetBytes(node.Id)));
        Want(await SendAsync(HttpMethod.Put, $"/v2.6/agents/{node.Id}", new JsonObject { ["auth_tag"] = tag }, null, cancel), "the activation", 200);
        Want(await SendAsync(HttpMethod.Put, $"/v1/nodes/{node.Id}", new JsonObject { ["runtimePolicy"] = MeasuredList.PolicyName, ["intervalSeconds"] = intervalSeconds }, operatorToken, cancel), "the enrolment", 200, 201);
        await OpenSessionAsync(node, cancel);
    }

    public async Task OpenSessionAsync(LoadNode node, CancellationToken cancel)
    {
        var supported = new SessionAttributes { AgentId = node.Id, AuthenticationSupported = [new(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType)] };
        var asked = Want(await SendAsync(HttpMethod.Post, "/v3.0/sessions", supported, cancel), "a session", 200);
        var session = JsonSerializer.Deserialize(asked.Body, UpstreamJson.Default.DocumentSessionAttributes)!.Data;
        var (message, signature) = node.Tpm.Certify(session.Attributes.AuthenticationRequested![0].ChosenParameters!.Challenge);
        var proof = new SessionAttributes
        {
            AgentId = node.Id,
            AuthenticationProvided = [new(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType) { Data = new AuthenticationProof(message, signature) }],
        };
        var proven = Want(await SendAsync(HttpMethod.Patch, $"/v3.0/sessions/{session.Id}", proof, cancel), "a proof of possession", 200);
        node.Token = JsonSerializer.Deserialize(proven.Body, UpstreamJson.Default.DocumentSessionAttributes)!.Data.Attributes.Token
            ?? throw new InvalidOperationException($"{node.Id} proved its key and got no token.");
    }

    private Task<LoadAnswer> SendAsync(HttpMethod method, string path, SessionAttributes attributes, CancellationToken cancel) =>
        client.SendAsync(method, path, LoadClient.Json(JsonSerializer.SerializeToUtf8Bytes(new Document<SessionAttributes>(new("session", attributes)), UpstreamJson.Default.DocumentSessionAttributes)), null, cancel);

    private Task<LoadAnswer> SendAsync(HttpMethod method, string path, JsonObject body, string? token, CancellationToken cancel) =>
        client.SendAsync(method, path, LoadClient.Json(Encoding.UTF8.GetBytes(body.ToJsonString()), "application/json"), token, cancel);

    private static LoadAnswer Want(LoadAnswer answer, string what, params ReadOnlySpan<int> wanted) => wanted.Contains(answer.Status)
        ? answer
        : throw new BenchmarkException($"{what} was refused: {answer.Status} {Encoding.UTF8.GetString(answer.Body)}");
}

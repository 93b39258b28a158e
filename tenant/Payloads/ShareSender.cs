using System.Net.Http.Json;
using System.Security.Cryptography.X509Certificates;
using Keylime.Attestation;
using Keylime.Attestation.Payloads;
using Keylime.Protocol;
using Keylime.Protocol.Payloads;
using Keylime.Tpm;

namespace Keylime.Tenant.Payloads;

/// <summary>Seals the operator's part of a split key to the TPMs of the nodes that it is meant for; each endorsement key is verified here, under roots that the operator has, and not by the service's word.</summary>
internal static class ShareSender
{
    /// <returns>What came of it for each node: <see langword="null"/>, or why it was not sealed.</returns>
    public static async Task<IReadOnlyList<(AgentId Node, string? Why)>> SendAsync(
        ServiceApi api, string name, byte[] share, IReadOnlyList<AgentId> nodes, X509Certificate2Collection roots, DateTimeOffset now, CancellationToken cancel)
    {
        if (share.Length != PayloadBinding.KeySize)
            throw new CliException(Exits.Usage, $"--share-file has {share.Length} bytes", $"it has {PayloadBinding.KeySize}, as 'keylime payload put --split' wrote it");
        var all = new List<(AgentId, string?)>();
        foreach (var node in nodes)
            all.Add((node, await SealAsync(api, name, share, node, roots, now, cancel)));
        return all;
    }

    private static async Task<string?> SealAsync(ServiceApi api, string name, byte[] share, AgentId node, X509Certificate2Collection roots, DateTimeOffset now, CancellationToken cancel)
    {
        var registered = (await api.GetAsync($"/v2.6/agents/{node}", UpstreamJson.Default.EnvelopeRegisteredAgentResults, cancel)).Results;
        PublicArea key;
        try
        {
            key = PublicArea.Parse(registered.EkTpm ?? []);
        }
        catch (TpmFormatException e)
        {
            return $"its endorsement key cannot be read: {e.Message}";
        }

        switch (EndorsementKeys.Check(key, registered.Ekcert is { } certificate ? Convert.ToBase64String(certificate) : null, [.. roots], now))
        {
            case EndorsementResult.Chained:
                break;
            case EndorsementResult.Unchained unchained:
                return unchained.Why;
            case EndorsementResult.Rejected rejected:
                return rejected.Finding.Detail;
            default:
                return "its TPM has no endorsement certificate: nobody vouches for it";
        }

        if (EndorsementKeys.Objection(key) is { } objection)
            return objection.Detail;
        var wrapped = SharePolicy.Seal(key, share);
        using var content = JsonContent.Create(new SealedKey(wrapped.Public.Encode(), wrapped.Duplicate.ToArray(), wrapped.Seed.ToArray()), ApiJson.Default.SealedKey);
        await api.SendAsync(HttpMethod.Put, $"{PayloadCommands.PathOf(name)}/shares/{node}", content, cancel);
        return null;
    }
}

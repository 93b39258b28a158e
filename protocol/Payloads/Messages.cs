using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Keylime.Protocol.Payloads;

/// <summary>What <c>GET /v3.0/agents/{id}/payloads</c> answers: the payloads that are meant for this machine.</summary>
public sealed record PayloadOffers(IReadOnlyList<PayloadOffer> Payloads);

/// <param name="Version">Counts up with each content of that name.</param>
/// <param name="Size">Of the plain content, in bytes.</param>
public sealed record PayloadOffer(string Name, long Version, long Size);

/// <summary>What <c>POST /v3.0/agents/{id}/payloads/{name}/release</c> wants.</summary>
/// <param name="Challenge">32 bytes at random, made for this request: the answer is bound to them, so that an old one is worth nothing.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record ReleaseRequest(long Version, byte[] Challenge);

/// <summary>A payload's key, sealed to one TPM, one boot, these PCR values and a time.</summary>
/// <param name="Release">Its number in the ledger: the agent reports under it.</param>
/// <param name="Parts">The ciphertext, in order: the parts make one stream.</param>
/// <param name="Key">The key, or with <see cref="Share"/> the part of it that the vault had. See <see cref="PayloadBinding"/> for what is sealed.</param>
public sealed record ReleasedPayload(
    string Release, string Name, long Version, long Size, IReadOnlyList<PayloadPart> Parts, BootPolicyMessage Policy, SealedKey Key, DateTimeOffset ExpiresAt)
{
    /// <summary>The other part of the key, sealed to this TPM by whoever put the payload (32 bytes): both together, by exclusive or, are the key.</summary>
    public SealedKey? Share { get; init; }
}

/// <param name="Digest">SHA-256, in hex.</param>
/// <param name="Size">In bytes.</param>
public sealed record PayloadPart(string Digest, int Size);

/// <summary>The policy that unseals the key, so that the TPM can be told the same: PolicyPCR, then PolicyCounterTimer on resetCount, then on clock.</summary>
/// <param name="Bank">As the protocol calls it: <c>sha256</c>.</param>
/// <param name="ResetCount">It must be this one.</param>
/// <param name="Clock">In milliseconds of the TPM's clock: it must be less.</param>
public sealed record BootPolicyMessage(string Bank, IReadOnlyList<int> Pcrs, uint ResetCount, ulong Clock);

/// <summary>What TPM2_Import wants.</summary>
/// <param name="Public">TPMT_PUBLIC.</param>
/// <param name="Duplicate">The contents of TPM2B_PRIVATE.</param>
/// <param name="Seed">The contents of TPM2B_ENCRYPTED_SECRET.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "A message is its fields.")]
public sealed record SealedKey(byte[] Public, byte[] Duplicate, byte[] Seed);

/// <summary>What <c>POST /v3.0/agents/{id}/payloads/{name}/report</c> wants: what became of a release.</summary>
public sealed record PayloadReport(long Version, PayloadOutcome Outcome)
{
    /// <summary>The release that it is about, as the service numbered it.</summary>
    public string? Release { get; init; }

    /// <summary>For a person; 512 characters at most.</summary>
    public string? Detail { get; init; }
}

[JsonConverter(typeof(JsonStringEnumConverter<PayloadOutcome>))]
public enum PayloadOutcome
{
    /// <summary>The file is there.</summary>
    [JsonStringEnumMemberName("written")]
    Written,

    /// <summary>It did not open, or could not be written.</summary>
    [JsonStringEnumMemberName("failed")]
    Failed,

    /// <summary>The file was there, and is gone.</summary>
    [JsonStringEnumMemberName("wiped")]
    Wiped,
}

/// <summary>The messages between agent and service about payloads: ours, so strict. A context of their own keeps the agent small.</summary>
[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Strict,
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    GenerationMode = JsonSourceGenerationMode.Metadata,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(PayloadOffers))]
[JsonSerializable(typeof(ReleaseRequest))]
[JsonSerializable(typeof(ReleasedPayload))]
[JsonSerializable(typeof(PayloadReport))]
public sealed partial class PayloadJson : JsonSerializerContext;

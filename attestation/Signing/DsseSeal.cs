using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;

namespace Keylime.Attestation;

/// <summary>
/// What an envelope's signatures are verified with once its payload is known by other means: the digest that was signed, and the signatures. It says nothing of the payload by itself: whoever keeps one
/// authenticates it together with what the payload became.
/// </summary>
public sealed class DsseSeal
{
    private readonly byte[] _digest;
    private readonly ImmutableArray<DsseSignature> _signatures;

    private DsseSeal(byte[] digest, ImmutableArray<DsseSignature> signatures) => (_digest, _signatures) = (digest, signatures);

    public static DsseSeal Of(DsseEnvelope envelope)
    {
        ArgumentNullException.ThrowIfNull(envelope);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(envelope.PreAuthenticationHead());
        hash.AppendData(envelope.UntrustedPayload.Span);
        return new DsseSeal(hash.GetHashAndReset(), envelope.Signatures);
    }

    /// <summary>Who of the trusted ones signed it.</summary>
    /// <param name="at">When certificates have to be valid.</param>
    /// <param name="signers">One at least, each once.</param>
    /// <param name="why">For a person: what each signature lacks.</param>
    public bool TryVerify(SigningTrust trust, DateTimeOffset at, out ImmutableArray<VerifiedSigner> signers, [NotNullWhen(false)] out string? why)
    {
        ArgumentNullException.ThrowIfNull(trust);
        (signers, why) = DsseVerification.Verify(_digest, _signatures, trust, at);
        return why is null;
    }

    internal byte[] Encode()
    {
        var bytes = new List<byte>(_digest);
        foreach (var signature in _signatures)
        {
            foreach (var field in (byte[][])[Encoding.UTF8.GetBytes(signature.KeyId), signature.Value.ToArray()])
            {
                var length = new byte[sizeof(int)];
                BinaryPrimitives.WriteInt32LittleEndian(length, field.Length);
                bytes.AddRange([.. length, .. field]);
            }
        }

        return [.. bytes];
    }

    /// <exception cref="CompiledPolicyException">It is none.</exception>
    internal static DsseSeal Decode(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < SHA256.HashSizeInBytes)
            throw new CompiledPolicyException($"a seal of {bytes.Length} bytes");
        var digest = bytes[..SHA256.HashSizeInBytes].ToArray();
        bytes = bytes[SHA256.HashSizeInBytes..];
        var signatures = ImmutableArray.CreateBuilder<DsseSignature>();
        while (!bytes.IsEmpty)
        {
            if (signatures.Count == DsseEnvelope.MaxSignatures)
                throw new CompiledPolicyException($"a seal with more than {DsseEnvelope.MaxSignatures} signatures");
            var keyId = Take(ref bytes);
            signatures.Add(new DsseSignature(Encoding.UTF8.GetString(keyId), Take(ref bytes).ToArray()));
        }

        return new DsseSeal(digest, signatures.DrainToImmutable());
    }

    private static ReadOnlySpan<byte> Take(ref ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < sizeof(uint) || BinaryPrimitives.ReadUInt32LittleEndian(bytes) is var length && length > bytes.Length - sizeof(uint))
            throw new CompiledPolicyException("a seal that ends in the middle");
        var taken = bytes.Slice(sizeof(uint), (int)length);
        bytes = bytes[(sizeof(uint) + (int)length)..];
        return taken;
    }
}

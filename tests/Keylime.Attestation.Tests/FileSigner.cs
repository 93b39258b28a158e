using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace Keylime.Attestation.Tests;

/// <summary>Signs files as evmctl does, with a signature of version 2.</summary>
internal sealed class FileSigner : IDisposable
{
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public FileSigner()
    {
        Spki = _key.ExportSubjectPublicKeyInfo();
        Assert.True(ImaKey.TryRead(Spki, out var key, out var error), error);
        Key = key;
    }

    public byte[] Spki { get; }

    public ImaKey Key { get; }

    /// <summary>A policy's <c>verification-keys</c>.</summary>
    public string VerificationKeys => new JsonObject
    {
        ["meta"] = new JsonObject { ["version"] = 1 },
        ["keyids"] = new JsonArray((JsonNode)Key.Id),
        ["pubkeys"] = new JsonArray((JsonNode)Convert.ToBase64String(Spki)),
    }.ToJsonString();

    public static string QuotedKeys(FileSigner signer) => JsonValue.Create(signer.VerificationKeys).ToJsonString();

    /// <summary>The attribute security.ima: type, version, hash (SHA-256), key id, size, signature.</summary>
    public byte[] Sign(string path)
    {
        var signature = _key.SignHash(List.DigestOf(path), DSASignatureFormat.Rfc3279DerSequence);
        var head = new byte[9];
        (head[0], head[1], head[2]) = (3, 2, 4);
        BinaryPrimitives.WriteUInt32BigEndian(head.AsSpan(3), Key.Id);
        BinaryPrimitives.WriteUInt16BigEndian(head.AsSpan(7), (ushort)signature.Length);
        return [.. head, .. signature];
    }

    public void Dispose() => _key.Dispose();
}

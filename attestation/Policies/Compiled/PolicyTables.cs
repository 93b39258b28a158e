namespace Keylime.Attestation;

/// <summary>A policy's lists: of files, of keys by keyring, of measured buffers by name.</summary>
internal sealed record PolicyTables(DigestTable Digests, DigestTable Keyrings, DigestTable Buffers)
{
    /// <summary>In bytes.</summary>
    public long Size => (long)Digests.Bytes.Length + Keyrings.Bytes.Length + Buffers.Bytes.Length;
}

namespace Keylime.Attestation;

/// <summary>One entry of a measurement list, as a tool that makes policies reads it. Nothing proves it: only a quote does.</summary>
/// <param name="Line">Counted from 0.</param>
/// <param name="Pcr">The PCR that it says it was extended to.</param>
/// <param name="Template"><c>ima-ng</c>, <c>ima-sig</c> …</param>
/// <param name="Path">Bytes, as measured; of <c>ima-buf</c> entries the buffer's name.</param>
/// <param name="Algorithm">Of the digest: <c>sha256</c>; empty where the entry does not say.</param>
/// <param name="Digest">Of the file or the buffer.</param>
/// <param name="Signature">The file's signature, the whole attribute; empty without one.</param>
/// <param name="Buffer">Of an <c>ima-buf</c> entry.</param>
/// <param name="IsVerity">The digest is that of an fs-verity descriptor.</param>
/// <param name="IsViolation">The file was open for writing while it was measured: there is no digest.</param>
public sealed record ImaEntry(
    long Line, int Pcr, string Template, ReadOnlyMemory<byte> Path, string Algorithm, ReadOnlyMemory<byte> Digest,
    ReadOnlyMemory<byte> Signature, ReadOnlyMemory<byte> Buffer, bool IsVerity, bool IsViolation)
{
    /// <summary>A buffer was measured and no file: a key, a command line, an event of the device mapper.</summary>
    public bool IsBuffer { get; init; }
}

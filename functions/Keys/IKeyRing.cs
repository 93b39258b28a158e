namespace Keylime.Functions.Keys;

/// <summary>Keys that never leave their place.</summary>
internal interface IKeyRing
{
    /// <summary>Authenticates bytes for one purpose: HMAC-SHA256 under a key of that purpose.</summary>
    byte[] Authenticate(string purpose, ReadOnlySpan<byte> data);

    /// <summary>Encrypts and authenticates a small secret that is kept in a store.</summary>
    byte[] Seal(string purpose, ReadOnlySpan<byte> secret);

    /// <returns><see langword="null"/> where it was not sealed by this ring for this purpose.</returns>
    byte[]? Open(string purpose, ReadOnlySpan<byte> @sealed);
}

namespace Keylime.Functions.Keys;

/// <summary>Keys that never leave their place.</summary>
internal interface IKeyRing
{
    /// <summary>Authenticates bytes for one purpose: HMAC-SHA256 under a key of that purpose.</summary>
    byte[] Authenticate(string purpose, ReadOnlySpan<byte> data);
}

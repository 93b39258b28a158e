using System.Security.Cryptography;

namespace Keylime.Functions.Keys;

/// <summary>Where challenges come from. A test that replays a recording gives the recorded ones.</summary>
internal interface IChallengeSource
{
    /// <summary>The nonce of an attestation.</summary>
    byte[] NewNonce();

    /// <summary>The challenge of a session: the same whenever it is asked for, and not to be known beforehand.</summary>
    byte[] OfSession(string session);
}

/// <summary>Nonces at random; the challenges of sessions follow from their ids, under a key of ours.</summary>
internal sealed class ChallengeSource(IKeyRing keys) : IChallengeSource
{
    /// <summary>In bytes: a TPM whose largest hash is SHA-256 takes 34 as qualifying data.</summary>
    public const int Size = 32;

    public byte[] NewNonce() => RandomNumberGenerator.GetBytes(Size);

    public byte[] OfSession(string session) => keys.Authenticate("session challenge", System.Text.Encoding.ASCII.GetBytes(session));
}

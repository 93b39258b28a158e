using System.Buffers.Binary;
using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Keys;
using Keylime.Protocol;

namespace Keylime.Functions.Verifier;

/// <summary>
/// Session ids that need no table: time of issue, random bytes and a mark of the agent, authenticated by a key of ours.
/// So strangers can ask for as many as they like and fill nothing.
/// </summary>
internal sealed class SessionIds(IKeyRing keys)
{
    private const int TimeSize = sizeof(long);
    private const int RandomSize = 16;
    private const int TagSize = 16;
    private const int BodySize = TimeSize + RandomSize + TagSize;
    private const int Size = BodySize + TagSize;

    public SessionId Issue(AgentId agent, DateTimeOffset now)
    {
        var bytes = new byte[Size];
        BinaryPrimitives.WriteInt64BigEndian(bytes, now.UtcTicks);
        RandomNumberGenerator.Fill(bytes.AsSpan(TimeSize, RandomSize));
        AgentTag(bytes, agent).CopyTo(bytes.AsSpan(TimeSize + RandomSize));
        Mac(bytes).CopyTo(bytes.AsSpan(BodySize));
        return new SessionId(Base64Url.EncodeToString(bytes), now, agent);
    }

    /// <summary>Reads an id of ours.</summary>
    /// <param name="agent">Who it is said to be for; <see cref="SessionId.Agent"/> is null if it is for another.</param>
    public bool TryRead(string text, AgentId agent, [NotNullWhen(true)] out SessionId? session)
    {
        session = null;
        var bytes = new byte[Size];
        if (text.Length > 2 * Size || !Base64Url.IsValid(text, out var length) || length != Size)
            return false;
        Base64Url.DecodeFromChars(text, bytes);
        if (!CryptographicOperations.FixedTimeEquals(Mac(bytes), bytes.AsSpan(BodySize)))
            return false;

        var tagged = CryptographicOperations.FixedTimeEquals(AgentTag(bytes, agent), bytes.AsSpan(TimeSize + RandomSize, TagSize));
        var issued = new DateTimeOffset(BinaryPrimitives.ReadInt64BigEndian(bytes), TimeSpan.Zero);
        // The text is made from the bytes again: base64 has several spellings, the challenge is of one.
        session = new SessionId(Base64Url.EncodeToString(bytes), issued, tagged ? agent : null);
        return true;
    }

    private ReadOnlySpan<byte> AgentTag(ReadOnlySpan<byte> id, AgentId agent) =>
        keys.Authenticate("session agent", [.. id[..(TimeSize + RandomSize)], .. Encoding.UTF8.GetBytes(agent.ToString())]).AsSpan(0, TagSize);

    private ReadOnlySpan<byte> Mac(ReadOnlySpan<byte> id) => keys.Authenticate("session id", id[..BodySize]).AsSpan(0, TagSize);
}

/// <param name="Agent">Whom it was issued for, if that is who was asked about.</param>
internal sealed record SessionId(string Text, DateTimeOffset IssuedAt, AgentId? Agent)
{
    /// <summary>How long its challenge may be answered.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(60);

    public DateTimeOffset ExpiresAt => IssuedAt + Lifetime;
}

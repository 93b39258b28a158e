namespace Keylime.Tpm;

/// <summary>One authorization of a command (TPMS_AUTH_COMMAND, Part 2, 10.13.2): an empty password, or a policy session.</summary>
/// <param name="Session">TPM_RS_PW, or a session's handle.</param>
public readonly record struct TpmAuthorization(uint Session)
{
    private const uint PasswordHandle = 0x40000009; // TPM_RS_PW, Part 2, 7.4

    /// <summary>The empty password.</summary>
    public static TpmAuthorization Password { get; } = new(PasswordHandle);

    /// <summary>A policy session that ends with the command, if that succeeds; if not, whoever started it flushes it.</summary>
    public static TpmAuthorization PolicyOnce(uint session) => new(session);

    internal void Write(TpmWriter writer)
    {
        writer.WriteUInt32(Session);
        writer.WriteSized([]); // nonceCaller: no HMAC here, so nothing to freshen
        writer.WriteUInt8(0);  // sessionAttributes: continueSession is clear
        writer.WriteSized([]); // hmac: the empty password
    }
}

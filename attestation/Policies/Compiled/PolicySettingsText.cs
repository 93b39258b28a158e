namespace Keylime.Attestation;

/// <summary>
/// What a policy says besides its lists, as a small policy's text in the very words of the large one: a compiled policy has it, and the same reader reads it, so that a rule means the
/// same in both. Members that nobody here knows are left out.
/// </summary>
internal sealed class PolicySettingsText
{
    private readonly List<byte> _text = [.. """{"meta":{"version":1},"digests":{}"""u8];

    /// <param name="value">The member's JSON.</param>
    public void Keep(string member, ReadOnlySpan<byte> value)
    {
        if (member is not ("excludes" or "ima" or "verification-keys" or "violations" or "class-rules"))
            return;
        _text.AddRange(",\""u8);
        _text.AddRange(System.Text.Encoding.UTF8.GetBytes(member));
        _text.AddRange("\":"u8);
        _text.AddRange(value);
    }

    public ReadOnlyMemory<byte> Write() => (byte[])[.. _text, (byte)'}'];
}

namespace Keylime.Functions.Access;

/// <summary>
/// What a signed JWT looks like (RFC 7515, 3.1): three parts with dots between them, of which the first is a JSON object in base64url, so begins with <c>eyJ</c>. The service's own tokens have a name
/// in front, and no token is made whose name could be taken for this.
/// </summary>
internal static class JwtForm
{
    /// <summary>How every JSON object begins in base64url whose first member's name follows at once.</summary>
    private const string Start = "eyJ";

    public static bool IsOne(string token)
    {
        if (!token.StartsWith(Start, StringComparison.Ordinal))
            return false;
        var (dots, part) = (0, 0);
        foreach (var c in token)
        {
            if (c == '.' && part > 0)
                (dots, part) = (dots + 1, 0);
            else if (char.IsAsciiLetterOrDigit(c) || c is '-' or '_')
                part++;
            else
                return false;
        }

        return dots == 2; // what nobody signed ends with the second one: it is a JWT, and will be refused as one
    }

    /// <summary>Whether a token of our own, with this name in front, could be taken for a JWT.</summary>
    public static bool IsLike(string name) => name.StartsWith(Start, StringComparison.Ordinal);
}

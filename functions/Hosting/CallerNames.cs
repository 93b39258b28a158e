using Keylime.Functions.Access;

namespace Keylime.Functions.Hosting;

internal static class CallerNames
{
    private const string OfTokens = "token ";

    /// <summary>Who calls, for events: the name of the token or of its owner, never the token.</summary>
    public static string CallerName(this HttpContext context) => context.Features.Get<Grant>()?.Name ?? "somebody";

    /// <summary>Whether two names are of one caller. A user of Entra ID who is called something else since is the same.</summary>
    public static bool AreOne(string one, string other) => Identity(one) == Identity(other);

    /// <summary>The name that a caller's key has among the signers of policies: that of the token, or the object id.</summary>
    public static string SignerOf(string caller) => EntraNames.IdIn(caller) ?? (caller.StartsWith(OfTokens, StringComparison.Ordinal) ? caller[OfTokens.Length..] : caller);

    private static string Identity(string caller) => EntraNames.IdIn(caller) is { } id ? "oid " + id : caller;
}

using Keylime.Functions.Keys;

namespace Keylime.Functions.Hosting;

internal static class CallerNames
{
    /// <summary>Who calls, for events: the name of the token, never the token.</summary>
    public static string CallerName(this HttpContext context) =>
        context.Features.Get<GrantedToken>() is { } granted ? $"token {granted.Name}" : "somebody";
}

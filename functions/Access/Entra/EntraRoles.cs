using Keylime.Functions.Hosting;
using Keylime.Protocol;

namespace Keylime.Functions.Access;

/// <summary>
/// The app roles that count here: <c>Keylime.Operator</c>, <c>Keylime.Approver</c>, <c>Keylime.Auditor</c>, and each with <c>:GROUP</c> behind it for one group of nodes. Whatever else a token has
/// gives nothing.
/// </summary>
internal static class EntraRoles
{
    private static readonly (string Name, Caller Role)[] Names =
    [
        ("Keylime.Operator", Caller.Operator),
        ("Keylime.Approver", Caller.Approver),
        ("Keylime.Auditor", Caller.Auditor),
    ];

    public static IReadOnlyList<GrantedRole> Read(IEnumerable<string> values) => [.. values.Select(Parse).OfType<GrantedRole>().Distinct()];

    private static GrantedRole? Parse(string value)
    {
        foreach (var (name, role) in Names)
        {
            if (value == name)
                return new GrantedRole(role, null);

            // A role of a group that cannot be is of none, and not of the whole service.
            if (value.StartsWith(name + ":", StringComparison.Ordinal) && AgentId.TryParse(value[(name.Length + 1)..], null, out var group))
                return new GrantedRole(role, group.ToString());
        }

        return null;
    }
}

/// <summary>Users and applications of Entra ID as events name them. The object id at the end is who it is: names change, and anybody's may be chosen.</summary>
internal static class EntraNames
{
    private const string Start = "entra ";
    private const string IdStart = " (oid ";
    private const int MaxName = 100;

    /// <param name="user">The user's name, where it is a user.</param>
    public static string Of(string? user, string application, Guid owner) =>
        $"{Start}{(user is null ? "app:" + Plain(application) : Plain(user))}{IdStart}{owner:D})";

    /// <summary>The object id in a name of ours.</summary>
    public static string? IdIn(string caller) =>
        caller.StartsWith(Start, StringComparison.Ordinal) && caller.EndsWith(')') && caller.LastIndexOf(IdStart, StringComparison.Ordinal) is > 0 and var at ? caller[(at + IdStart.Length)..^1] : null;

    // No space and no bracket stays in it, so that nobody's name ends with another one's id.
    private static string Plain(string text) =>
        new([.. text.Take(MaxName).Select(static c => char.IsAsciiLetterOrDigit(c) || c is '@' or '.' or '_' or '-' or '+' or '#' or '\'' ? c : '?')]);
}

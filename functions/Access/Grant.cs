using Keylime.Functions.Hosting;

namespace Keylime.Functions.Access;

/// <summary>A role, and the one group of nodes that it is for; <see langword="null"/> for the whole service.</summary>
internal readonly record struct GrantedRole(Caller Role, string? Group);

/// <summary>Whoever came with a token that opens something.</summary>
/// <param name="Name">For events: <c>token NAME</c>, or <c>entra NAME (oid ID)</c>.</param>
internal sealed record Grant(string Name, IReadOnlyList<GrantedRole> Roles)
{
    /// <summary>The name of a token of the service's own.</summary>
    public string? Token { get; init; }

    /// <summary>For a person, at the start of a sentence.</summary>
    public string Who => Token is null ? $"'{Name}'" : $"The token '{Token}'";

    /// <summary>The roles in words.</summary>
    public string RolesInWords => string.Join(", ", Roles.Select(static r => r.Role.ToString().ToLowerInvariant() + (r.Group is { } group ? $" of the group '{group}'" : "")));

    /// <summary>How far the roles go that one of <paramref name="wanted"/> is: other roles count for nothing there.</summary>
    /// <returns><see langword="null"/> where none is.</returns>
    public CallerScope? ScopeFor(Caller wanted)
    {
        GrantedRole[] fitting = [.. Roles.Where(r => (wanted & r.Role) != 0)];
        if (fitting.Length == 0)
            return null;
        return fitting.Any(static r => r.Group is null) ? CallerScope.All : CallerScope.Of(fitting.Select(static r => r.Group!));
    }
}

using System.CommandLine;

namespace Keylime.Tenant;

/// <summary><c>keylime policy create …</c>.</summary>
internal static class CreateCommands
{
    public static Command Create(Surroundings surroundings, Formats formats) => new("create", "Make a policy of what is known to be good.")
    {
        CreateRuntimeCommand.Create(surroundings, formats),
        CreateBootCommand.Create(surroundings),
    };
}

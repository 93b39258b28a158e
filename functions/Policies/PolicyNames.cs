namespace Keylime.Functions.Policies;

/// <summary>What a policy may be called: as an agent id, it is a table key and part of a path.</summary>
internal static class PolicyNames
{
    public const string Expected = "A policy's name has 1 to 80 of A-Z a-z 0-9 _ . - and is neither . nor ...";

    public static bool IsValid(string? name) => Protocol.AgentId.TryParse(name, null, out _);
}

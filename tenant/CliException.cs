namespace Keylime.Tenant;

/// <summary>A command that did not succeed: what, where, what was expected; and what to do about it.</summary>
internal sealed class CliException(int exit, string message, string hint) : Exception(message)
{
    public int Exit { get; } = exit;

    public string Hint { get; } = hint;
}

/// <summary>Exit codes: part of what scripts rely on.</summary>
internal static class Exits
{
    public const int Ok = 0;
    public const int Failed = 1;
    public const int Usage = 2;
    public const int NotFound = 3;
    public const int Refused = 4;
    public const int Conflict = 5;
}

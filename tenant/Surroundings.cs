namespace Keylime.Tenant;

/// <summary>Everything that the tool sees of the world but the service: so that a test can give it another one.</summary>
internal sealed record Surroundings
{
    public required Stream In { get; init; }

    public required TextWriter Out { get; init; }

    public required TextWriter Error { get; init; }

    public required Func<string, string?> Variable { get; init; }

    /// <summary>True where <see cref="Out"/> is a person's terminal.</summary>
    public required bool Interactive { get; init; }

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Where the login is kept: $XDG_CONFIG_HOME/keylime, or ~/.config/keylime.</summary>
    public string ConfigFolder => Path.Combine(
        Variable("XDG_CONFIG_HOME") is { Length: > 0 } home ? home : Path.Combine(Variable("HOME") ?? ".", ".config"), "keylime");

    public static Surroundings OfThisProcess() => new()
    {
        In = Console.OpenStandardInput(),
        Out = Console.Out,
        Error = Console.Error,
        Variable = Environment.GetEnvironmentVariable,
        Interactive = !Console.IsOutputRedirected,
    };
}

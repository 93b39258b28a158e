using System.Text;

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

    /// <summary>True where <see cref="Error"/> is a person's terminal.</summary>
    public bool ErrorIsTerminal { get; init; }

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>How Entra ID is reached; <see langword="null"/> for the usual way.</summary>
    public Func<HttpMessageHandler>? IssuerHandler { get; init; }

    /// <summary>Where the login is kept: $XDG_CONFIG_HOME/keylime, or ~/.config/keylime.</summary>
    public string ConfigFolder => Path.Combine(
        Variable("XDG_CONFIG_HOME") is { Length: > 0 } home ? home : Path.Combine(Variable("HOME") ?? ".", ".config"), "keylime");

    /// <summary>The text of a file, or of the standard input.</summary>
    /// <exception cref="CliException">It cannot be read.</exception>
    public async Task<string> ReadTextAsync(string path, CancellationToken cancel)
    {
        if (path != "-")
            return Encoding.UTF8.GetString(ReadFile(path));
        using var reader = new StreamReader(In, Encoding.UTF8, leaveOpen: true);
        return await reader.ReadToEndAsync(cancel);
    }

    /// <exception cref="CliException">It cannot be read.</exception>
    public static byte[] ReadFile(string path)
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, PlainText.From(e.Message), "a file that can be read is expected");
        }
    }

    /// <summary>A new file that nobody else may read.</summary>
    /// <exception cref="CliException">It cannot be made, or is there already.</exception>
    public static FileStream CreatePrivateFile(string path)
    {
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        try
        {
            return new FileStream(path, options);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, PlainText.From(e.Message), "a file that is not there yet is expected");
        }
    }

    public static Surroundings OfThisProcess() => new()
    {
        In = Console.OpenStandardInput(),
        Out = Console.Out,
        Error = Console.Error,
        Variable = Environment.GetEnvironmentVariable,
        Interactive = !Console.IsOutputRedirected,
        ErrorIsTerminal = !Console.IsErrorRedirected,
    };
}

using Keylime.Tenant;

namespace Keylime.Functions.Tests;

/// <summary>The operator's tool in this process, logged in at a <see cref="TestService"/> by a role's token.</summary>
internal sealed class OperatorTool : IDisposable
{
    private readonly TestService _service;

    public OperatorTool(TestService service) => _service = service;

    public string Folder { get; } = Directory.CreateTempSubdirectory("tool-").FullName;

    public string PathOf(string name) => Path.Combine(Folder, name);

    public Task<(int Exit, string Out, string Error)> RunAsync(params string[] args) => RunAsAsync("operator", args);

    public async Task<(int Exit, string Out, string Error)> RunAsAsync(string role, params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var surroundings = new Surroundings
        {
            In = Stream.Null,
            Out = output,
            Error = error,
            Variable = name => name switch
            {
                "XDG_CONFIG_HOME" => Folder,
                "KEYLIME_URL" => _service.Url.ToString(),
                "KEYLIME_CA" => Path.Combine(_service.Folder, "ca.pem"),
                "KEYLIME_TOKEN_FILE" => Path.Combine(_service.Folder, role + ".token"),
                _ => null,
            },
            Interactive = false,
            Clock = _service.Clock,
        };
        var exit = await Cli.RunAsync(args, surroundings, TestContext.Current.CancellationToken);
        return (exit, output.ToString(), error.ToString());
    }

    /// <summary>The output of a command that works.</summary>
    public async Task<string> DoAsync(params string[] args)
    {
        var (exit, text, error) = await RunAsync(args);
        Assert.True(exit == 0, $"{string.Join(' ', args)}: {exit}: {error}");
        return text;
    }

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}

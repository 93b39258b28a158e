using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using YamlDotNet.Serialization;

namespace Keylime.Architecture.Tests;

/// <summary><c>azure.yaml</c>, for azd: what it names is there, and goes by the same names elsewhere. The scripts beside it say what they should.</summary>
public sealed partial class AzureDeveloperCliTests
{
    private const string Token = "deployer:0000000000000000000000000000000000000000000000000000000000000000";
    private static readonly string Infra = Path.Combine(Checkout.Root, "infra");

    [GeneratedRegex(@"^\./?\S+|^\S+/\S+")]
    private static partial Regex Program { get; }

    [GeneratedRegex(@"\$(\w+)")]
    private static partial Regex Variable { get; }

    [GeneratedRegex(@"^output (\w+) ", RegexOptions.Multiline)]
    private static partial Regex Output { get; }

    [GeneratedRegex(@"\[""([a-z_]+)""\] = static")]
    private static partial Regex AgentOption { get; }

    [Fact]
    public void Azd_finds_what_azure_yaml_names()
    {
        var file = Read();
        Assert.Equal("bicep", file.Infra.Provider);
        Assert.True(File.Exists(Path.Combine(Checkout.Root, file.Infra.Path, file.Infra.Module + ".bicepparam")));

        // azd knows the app that a service is deployed to by this tag.
        var (name, service) = Assert.Single(file.Services);
        var snapshot = JsonNode.Parse(File.ReadAllText(Path.Combine(Infra, file.Infra.Module + ".snapshot.json")))!["predictedResources"]!.AsArray();
        var tagged = Assert.Single(snapshot, static r => r!["tags"]?["azd-service-name"] is not null)!;
        Assert.Equal(("Microsoft.Web/sites", name), (tagged["type"]!.GetValue<string>(), tagged["tags"]!["azd-service-name"]!.GetValue<string>()));
        Assert.Equal(("function", "custom"), (service.Host, service.Language));
        Assert.Contains($"zip=$(realpath -m \"${{1-{service.Dist}}}\")", File.ReadAllText(Path.Combine(Checkout.Root, "functions", "package")), StringComparison.Ordinal);

        var outputs = Output.Matches(File.ReadAllText(Path.Combine(Infra, "main.bicep"))).Select(static m => m.Groups[1].Value).ToHashSet();
        foreach (var (folder, hook) in file.Hooks.Values.Select(static h => ("", h)).Concat(service.Hooks.Values.Select(h => (service.Project, h))))
        {
            Assert.Equal("sh", hook.Shell);
            Assert.StartsWith("exec ", hook.Run, StringComparison.Ordinal); // azd writes it into a file for sh; ours have shells of their own
            var program = Path.Combine(Checkout.Root, folder, Program.Match(hook.Run["exec ".Length..]).Value);
            Assert.True(File.Exists(program) && (OperatingSystem.IsWindows() || (File.GetUnixFileMode(program) & UnixFileMode.UserExecute) != 0), program);
            Assert.All(Variable.Matches(hook.Run), v => Assert.Contains(v.Groups[1].Value, outputs));
        }

        Assert.All(file.Hooks.Where(static h => h.Key.StartsWith("pre", StringComparison.Ordinal)), h => Assert.EndsWith(" " + file.Infra.Module, h.Value.Run, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("dev", Token, null, 0, "")]
    [InlineData("dev", null, null, 1, "KEYLIME_OPERATOR_TOKEN")]
    [InlineData("dev", "deployer:keylime-token-that-is-a-secret", null, 1, "KEYLIME_OPERATOR_TOKEN")]
    [InlineData("dev", Token + "\nx", null, 1, "KEYLIME_OPERATOR_TOKEN")]
    [InlineData("prod", Token, "alerts@example.org", 0, "")]
    [InlineData("prod", Token, "@", 1, "KEYLIME_ALERT_EMAIL")]
    [InlineData("prod", null, null, 1, "KEYLIME_OPERATOR_TOKEN|KEYLIME_ALERT_EMAIL")]
    [InlineData("other", Token, null, 2, "dev or prod")]
    public async Task What_a_deployment_lacks_is_told_at_once(string environment, string? token, string? address, int expected, string words)
    {
        var (exit, _, error) = await RunAsync("check-environment", [environment], new() { ["KEYLIME_OPERATOR_TOKEN"] = token, ["KEYLIME_ALERT_EMAIL"] = address });
        Assert.Equal(expected, exit);
        Assert.All(words.Split('|'), w => Assert.Contains(w, error, StringComparison.Ordinal));
        Assert.Equal(words.Length == 0 ? 0 : words.Split('|').Length, error.Split("error: ").Length - 1);
        if (token?.Contains("secret", StringComparison.Ordinal) == true)
            Assert.DoesNotContain(token, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_next_steps_are_configuration_that_the_agent_and_the_tool_take()
    {
        var (exit, output, _) = await RunAsync("next-steps", ["https://attest.example/", "https://vault.example/"], []);
        Assert.Equal(0, exit);
        var known = AgentOption.Matches(File.ReadAllText(Path.Combine(Checkout.Root, "agent", "OptionsReader.cs"))).Select(static m => m.Groups[1].Value).ToHashSet();
        var options = output.Split('\n').Where(static l => l.Contains(" = ", StringComparison.Ordinal)).Select(static l => l.Split(" = ")).ToDictionary(static l => l[0], static l => l[1].Trim('"'));
        Assert.All(options.Keys, k => Assert.Contains(k, known));
        Assert.Equal("https://attest.example", options["verifier_url"]);

        var login = Assert.Single(output.Split('\n'), static l => l.StartsWith("keylime login ", StringComparison.Ordinal));
        var tool = string.Join('\n', Directory.EnumerateFiles(Path.Combine(Checkout.Root, "tenant"), "*.cs", SearchOption.AllDirectories).Select(File.ReadAllText));
        Assert.All(login.Split(' ').Where(static w => w.StartsWith("--", StringComparison.Ordinal)), o => Assert.Contains($"\"{o}\"", tool, StringComparison.Ordinal));
        Assert.Equal(2, (await RunAsync("next-steps", ["attest.example"], [])).Exit);
    }

    private static async Task<(int Exit, string Output, string Error)> RunAsync(string script, string[] args, Dictionary<string, string?> environment)
    {
        var start = new ProcessStartInfo(Path.Combine(Infra, script), args) { WorkingDirectory = Checkout.Root, RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, await output, await error);
    }

    // What is not known here is not let pass: azd has no use for a misspelt name.
    private static AzureYaml Read() => new DeserializerBuilder().WithNamingConvention(YamlDotNet.Serialization.NamingConventions.CamelCaseNamingConvention.Instance).Build()
        .Deserialize<AzureYaml>(File.ReadAllText(Path.Combine(Checkout.Root, "azure.yaml")));

    private sealed class AzureYaml
    {
        public string Name { get; set; } = "";

        public InfraOptions Infra { get; set; } = new();

        public Dictionary<string, ServiceOptions> Services { get; set; } = [];

        public Dictionary<string, Hook> Hooks { get; set; } = [];
    }

    private sealed class InfraOptions
    {
        public string Provider { get; set; } = "";

        public string Path { get; set; } = "";

        public string Module { get; set; } = "";
    }

    private sealed class ServiceOptions
    {
        public string Project { get; set; } = "";

        public string Host { get; set; } = "";

        public string Language { get; set; } = "";

        public string Dist { get; set; } = "";

        public Dictionary<string, Hook> Hooks { get; set; } = [];
    }

    private sealed class Hook
    {
        public string Shell { get; set; } = "";

        public string Run { get; set; } = "";
    }
}

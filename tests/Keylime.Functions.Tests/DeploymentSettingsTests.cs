using System.Text.RegularExpressions;
using Keylime.Functions.Hosting;
using Keylime.Testing;

namespace Keylime.Functions.Tests;

/// <summary>Templates, manifests and images set what the service knows, to values that it takes.</summary>
public sealed class DeploymentSettingsTests
{
    [Fact]
    public void Every_setting_that_a_deployment_names_is_one_of_the_service()
    {
        var named = Deployment.Names(Setting.Prefix);
        Assert.All(((string[])["OPERATOR_TOKEN", "KEY_VAULT", "DATA"]).Select(static n => Setting.Prefix + n), n => Assert.Contains(n, named.Keys)); // or nothing was looked at
        Assert.All(named, static n => Assert.True(SettingsTable.All.Any(s => s.Variable == n.Key), $"{n.Value}: {n.Key}"));
    }

    [Fact]
    public void The_settings_of_the_manifests_are_good_and_make_instances_that_share_everything()
    {
        var folder = Directory.CreateTempSubdirectory("tls-").FullName;
        var environment = Deployment.EnvironmentFile("infra/kubernetes/service.env");
        foreach (var name in environment.Keys.Where(static n => n.Contains("_TLS_", StringComparison.Ordinal)).ToList())
        {
            environment[name] = environment[name].Replace("/tls/", folder + "/", StringComparison.Ordinal);
            File.WriteAllText(environment[name], "");
        }

        Assert.True(Settings.TryRead([], environment, out var options, out var errors), string.Join('\n', errors));
        Assert.True(options is { UsesAzure: true, KeyVault: not null, OperatorToken: not null, TlsCertificate: not null }); // rows, keys, tokens and name
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void The_image_sets_where_it_listens_and_what_it_writes_to()
    {
        var text = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "infra", "container", "Containerfile"));
        var environment = Regex.Matches(text, @"(KEYLIME_SERVICE_\w+)=(\S+)").ToDictionary(static m => m.Groups[1].Value, static m => m.Groups[2].Value);
        Assert.True(Settings.TryRead([], environment, out var options, out var errors), string.Join('\n', errors));
        Assert.StartsWith("/data/", options.Data, StringComparison.Ordinal); // below the volume, whose own mode is not ours
        Assert.Contains("VOLUME /data\n", text, StringComparison.Ordinal);
        Assert.Contains($"EXPOSE {options.Listen.Port}\n", text, StringComparison.Ordinal);
        Assert.Contains($"\"{HealthProbe.Flag}\"", text, StringComparison.Ordinal);
    }
}

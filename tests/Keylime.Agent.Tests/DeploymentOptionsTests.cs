using Keylime.Testing;

namespace Keylime.Agent.Tests;

/// <summary>Manifests and images set what the agent knows, to values that it takes.</summary>
public sealed class DeploymentOptionsTests
{
    [Fact]
    public void Every_option_that_a_deployment_names_is_one_of_the_agent()
    {
        var named = Deployment.Names(OptionsReader.Prefix);
        Assert.Contains(OptionsReader.Prefix + "VERIFIER_URL", named.Keys);
        var known = OptionsReader.Flags.Select(static f => OptionsReader.Prefix + f[2..].Replace('-', '_').ToUpperInvariant()).ToHashSet();
        Assert.All(named, n => Assert.True(known.Contains(n.Key), $"{n.Value}: {n.Key}"));
    }

    [Fact]
    public void The_options_of_the_manifests_are_good()
    {
        var folder = Directory.CreateTempSubdirectory("state-").FullName;
        var environment = Deployment.EnvironmentFile("infra/kubernetes/agent.env");
        environment[OptionsReader.Prefix + "KEYLIME_DIR"] = folder;
        var options = OptionsReader.Read([], name => environment.GetValueOrDefault(name), folder);
        Assert.Equal("hash_ek", options.Uuid);
        Assert.StartsWith("/run/securityfs/", options.ImaMlPath, StringComparison.Ordinal);
        Assert.Equal("/etc/keylime/ca.pem", options.VerifierCa);
        Directory.Delete(folder);
    }
}

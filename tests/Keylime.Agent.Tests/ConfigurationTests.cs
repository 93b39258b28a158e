namespace Keylime.Agent.Tests;

/// <summary>Where options come from, and what is refused of them.</summary>
public sealed class ConfigurationTests : IDisposable
{
    private readonly string _root = Directory.CreateTempSubdirectory("agent-conf-").FullName;

    public void Dispose() => Directory.Delete(_root, recursive: true);

    [Fact]
    public void Later_goes_before_earlier()
    {
        Write("usr/etc/keylime/agent.conf", "[agent]\nuuid = \"vendor\"\ncontact_port = 1\nattestation_interval_seconds = 1");
        Write("etc/keylime/agent.conf", "[agent]\nuuid = \"admin\"\ncontact_port = 2");
        Write("etc/keylime/agent.conf.d/10-more.conf", "[agent]\nuuid = \"part\"");
        var read = Read([], null);
        Assert.Equal(("part", 2, 1), (read.Uuid, read.ContactPort, read.AttestationIntervalSeconds));
        Assert.Equal("environment", Read([], ("KEYLIME_AGENT_UUID", "environment")).Uuid);
        Assert.Equal("flag", Read([("uuid", "flag")], ("KEYLIME_AGENT_UUID", "environment")).Uuid);
    }

    [Fact]
    public void One_named_file_replaces_all_others()
    {
        Write("etc/keylime/agent.conf", "[agent]\nuuid = \"admin\"\ncontact_port = 2");
        Write("mine.conf", "[agent]\nuuid = \"mine\"");
        var path = Path.Combine(_root, "mine.conf");
        Assert.Equal(("mine", 9002), (Read([("config", path)], null).Uuid, Read([], ("KEYLIME_AGENT_CONFIG", path)).ContactPort));
        Assert.Contains("missing.conf", Assert.Throws<OptionsException>(() => Read([("config", Path.Combine(_root, "missing.conf"))], null)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("verifier-url", "ftp://x")]
    [InlineData("verifier-url", "https://x/path")]
    [InlineData("verifier-url", "https://user:secret@x")]
    [InlineData("uuid", "a/b")]
    [InlineData("uuid", "")]
    [InlineData("contact-port", "0")]
    [InlineData("attestation-interval-seconds", "60s")]
    [InlineData("tpm-hash-alg", "sha1")]
    [InlineData("tpm-signing-alg", "ecdsa")]
    [InlineData("tpm-encryption-alg", "rsa1024")]
    [InlineData("tls-accept-invalid-certs", "true")]
    [InlineData("iak-handle", "5")]
    [InlineData("payload-dir", "run/keylime/payloads")]
    [InlineData("iak-idevid-template", "H-9")]
    [InlineData("tpm-ek-profile", "X-1")]
    [InlineData("notice-actions-dir", "/etc/keylime/actions")] // without a key that makes a notice one
    [InlineData("notice-actions-dir", "actions")]
    [InlineData("no-such-option", "1")]
    [InlineData("keylime-dir", "/nonexistent")]
    public void A_value_that_cannot_be_is_named(string name, string value)
    {
        var refused = Assert.Throws<OptionsException>(() => Read([(name, value)], null));
        Assert.Contains(name.Split('-')[0], refused.Message.Replace('_', '-'), StringComparison.Ordinal);
        Assert.NotEmpty(refused.Hint);
        Assert.DoesNotContain("secret", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a = \"x # y\" # comment", "x # y")]
    [InlineData("a = 'C:\\x'", "C:\\x")]
    [InlineData("a = \"q\\\"q\\\\\\t\"", "q\"q\\\t")]
    [InlineData("a = true # yes", "true")]
    [InlineData("a=1_000", "1_000")]
    [InlineData("a = [\"x\", \"y\"]", "[\"x\", \"y\"]")]
    public void TOML_values(string line, string value) =>
        Assert.Equal([("a", value)], TomlTable.Read(["[other]", "a = 0", "[agent]", "", "# c", line, "[more]", "a = 9"], "agent", "f"));

    [Theory]
    [InlineData("a")]
    [InlineData("a = ")]
    [InlineData("a = \"x")]
    [InlineData("a = \"x\" y")]
    [InlineData("a = \"\\q\"")]
    [InlineData("a = x y")]
    [InlineData("[agent")]
    [InlineData("= 1")]
    public void TOML_that_is_none_names_its_line(string line) =>
        Assert.Contains("f, line 2", Assert.Throws<OptionsException>(() => TomlTable.Read(["[agent]", line], "agent", "f").ToList()).Message, StringComparison.Ordinal);

    [Fact]
    public void The_example_that_is_shipped_is_read()
    {
        var example = Path.Combine(AppContext.BaseDirectory, "agent.conf");
        var options = Read([("config", example), ("keylime-dir", _root)], null);
        Assert.Equal("keylime:tss", options.RunAs);
    }

    private AgentOptions Read(IReadOnlyList<(string, string)> flags, (string Name, string Value)? variable) =>
        OptionsReader.Read([.. flags, .. flags.Any(f => f.Item1 == "keylime-dir") ? Array.Empty<(string, string)>() : [("keylime-dir", _root)]],
            name => name == variable?.Name ? variable?.Value : null, _root);

    private void Write(string name, string text)
    {
        var path = Path.Combine(_root, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }
}

using System.Collections.Immutable;
using Keylime.Functions.Hosting;

namespace Keylime.Functions.Tests;

/// <summary>What the service is told: on the command line, in the environment; and what is said of mistakes.</summary>
public sealed class SettingsTests
{
    [Fact]
    public void The_command_line_is_over_the_environment()
    {
        var options = Good(["--interval", "9"], ("KEYLIME_SERVICE_INTERVAL", "7"), ("KEYLIME_SERVICE_SAN", "a, b"), ("KEYLIME_SERVICE_KEY_VAULT", ""));
        Assert.Equal(TimeSpan.FromSeconds(9), options.Interval);
        Assert.Equal(["a", "b"], options.Names);
        Assert.Null(options.KeyVault); // set to nothing is not set
    }

    [Theory]
    [InlineData("--listen", "http://127.0.0.1:1")]
    [InlineData("--listen", "https://example.org:1")]
    [InlineData("--interval", "0")]
    [InlineData("--interval", "soon")]
    [InlineData("--interval", "86401")]
    [InlineData("--data", "")]
    [InlineData("--data")]
    [InlineData("--san", ",")]
    [InlineData("--san", "a b")]
    [InlineData("--fetch-issuers", "maybe")]
    [InlineData("--accept-identity", "ek-key,none")]
    [InlineData("--policy-memory", "15")]
    [InlineData("--policy-memory", "1 GB")]
    [InlineData("--keep-verdicts", "0d")]
    [InlineData("--keep-verdicts", "400")]
    [InlineData("--keep-verdicts", "-4d")]
    [InlineData("--keep-events", "36501d")]
    [InlineData("--keep-events", "d")]
    [InlineData("--keep-events", "1h")]
    [InlineData("--keep-events", "99999999999d")]
    [InlineData("--azure-account", "Upper")]
    [InlineData("--azure-account", "http://a.table.core.windows.net")]
    [InlineData("--azure-account", "state,state")]
    [InlineData("--azure-connections", "/there/is/none")]
    [InlineData("--key-vault", "http://team.vault.azure.net")]
    [InlineData("--key-vault", "https://team.vault.azure.net/keys")]
    [InlineData("--key-vault", "https://u@team.vault.azure.net")]
    [InlineData("--wrap-key", "a/b", "--key-vault", "https://team.vault.azure.net")]
    [InlineData("--sign-key", "ours")] // without a vault
    [InlineData("--operator-token", "deployer")]
    [InlineData("--allow-outbound", "host")]
    public void A_value_that_cannot_be_is_told_with_its_setting_and_what_is_expected(params string[] args)
    {
        var error = Assert.Single(Bad(args));
        Assert.StartsWith(args[0], error, StringComparison.Ordinal);
        Assert.Matches("expected|no effect|twice", error + (args.Length == 1 ? " expected" : ""));
    }

    [Theory]
    [InlineData("--keep-verdicts", "400d")]
    [InlineData("--keep-events", "1d")]
    [InlineData("--azure-account", "state1,state2")]
    [InlineData("--azure-account", "https://state1.table.core.windows.net")]
    [InlineData("--key-vault", "https://team.vault.azure.net", "--sign-key", "a-b")]
    [InlineData("--registrar-http", "http://127.0.0.1:8890")]
    [InlineData("--listen=https://[::1]:1")]
    public void What_can_be_is_taken(params string[] args) => Good(args);

    [Fact]
    public void Days_are_days() => Assert.Equal((TimeSpan.FromDays(400), TimeSpan.FromDays(1)), Good(["--keep-verdicts", "400d", "--keep-events=1d"]) is var o ? (o.KeepVerdicts, o.KeepEvents) : default);

    [Fact]
    public void All_mistakes_are_told_at_once_each_with_its_place()
    {
        var errors = Bad(
            ["--intervall", "9", "data", "--colour=red", "--listen", "https://127.0.0.1:8881", "--registrar-http", "http://127.0.0.1:8881", "--wrap-key", "a"],
            ("KEYLIME_SERVICE_INTERVAL", "soon"), ("KEYLIME_SERVICE_KEEP_VERDICT", "1d"), ("KEYLIME_SERVICE_WHATEVER", ""), ("FUNCTIONS_CUSTOMHANDLER_PORT", "none"));
        Assert.Equal(
            [
                "KEYLIME_SERVICE_INTERVAL: 'soon' is not what is expected: a whole number of seconds from 1 to 86400.",
                "KEYLIME_SERVICE_KEEP_VERDICT: there is no such setting. Is KEYLIME_SERVICE_KEEP_VERDICTS meant?",
                "KEYLIME_SERVICE_WHATEVER: there is no such setting.",
                "--intervall: there is no such setting. Is --interval meant?",
                "'data': a setting is expected, as --name VALUE.",
                "--colour: there is no such setting.",
                "FUNCTIONS_CUSTOMHANDLER_PORT: 'none' is no port. The Functions host sets it; nobody else should.",
                "--wrap-key: without --key-vault it has no effect.",
                "--registrar-http and --listen both take 127.0.0.1:8881: one address answers with TLS or without it.",
            ],
            errors.Order(Comparer<string>.Create((a, b) => Place(a).CompareTo(Place(b)))));

        static int Place(string error) => Array.FindIndex(
            ["KEYLIME_SERVICE_I", "KEYLIME_SERVICE_K", "KEYLIME_SERVICE_W", "--intervall", "'data'", "--colour", "FUNCTIONS", "--wrap-key", "--registrar"], start => error.StartsWith(start, StringComparison.Ordinal));
    }

    [Fact]
    public void Under_the_host_there_must_be_a_store_that_lasts()
    {
        Assert.Contains("--azure-account", Assert.Single(Bad([], ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"))), StringComparison.Ordinal);
        Assert.Equal(7071, Good([], ("FUNCTIONS_CUSTOMHANDLER_PORT", "7071"), ("KEYLIME_SERVICE_AZURE_ACCOUNT", "state1")).HandlerPort);
    }

    [Theory]
    [InlineData("KEYLIME_SERVICE_HOST")] // of a service named keylime
    [InlineData("KEYLIME_SERVICE_PORT_8881_TCP_ADDR")]
    [InlineData("KEYLIME_SERVICE_SERVICE_HOST")] // of one named keylime-service
    [InlineData("KEYLIME_SERVICE_SERVICE_PORT")]
    public void What_Kubernetes_tells_of_its_services_is_no_mistake(string name) => Good([], (name, "10.0.0.7"));

    [Fact]
    public void What_is_set_is_told_with_where()
    {
        var text = Settings.Describe(["--interval", "9", Settings.CheckFlag, "--san", "b"], Environment(("KEYLIME_SERVICE_INTERVAL", "7"), ("KEYLIME_SERVICE_SAN", "a")));
        Assert.Matches(@"(?m)^  interval +9  \(--interval\)$", text);
        Assert.Matches(@"(?m)^  san +a,b  \(--san\)$", text);
        Assert.DoesNotContain("7", text, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_setting_is_in_the_help_and_in_the_documentation()
    {
        var operating = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "docs", "operating.md"));
        foreach (var setting in SettingsTable.All)
        {
            Assert.Contains($"--{setting.Name} {setting.Value}", Settings.Usage, StringComparison.Ordinal);
            Assert.Contains($"| `--{setting.Name} {setting.Value}` |", operating, StringComparison.Ordinal);
        }

        Assert.All(Settings.Usage.Split('\n'), static line => Assert.InRange(line.Length, 0, 160));
    }

    private static ServiceOptions Good(string[] args, params (string, string)[] environment)
    {
        Assert.True(Settings.TryRead(args, Environment(environment), out var options, out var errors), string.Join('\n', errors));
        return options;
    }

    private static IReadOnlyList<string> Bad(string[] args, params (string, string)[] environment)
    {
        Assert.False(Settings.TryRead(args, Environment(environment), out var options, out var errors));
        Assert.Null(options);
        return errors;
    }

    private static ImmutableDictionary<string, string> Environment(params (string Name, string Value)[] pairs) => pairs.ToImmutableDictionary(static p => p.Name, static p => p.Value);
}

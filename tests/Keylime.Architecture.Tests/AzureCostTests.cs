using System.Globalization;
using System.Text.RegularExpressions;
using Keylime.Benchmarks;

namespace Keylime.Architecture.Tests;

/// <summary>The estimate of docs/azure-cost.md is what its own parameters give, and they are those of the templates.</summary>
public sealed class AzureCostTests
{
    private static readonly string Page = File.ReadAllText(Path.Combine(Checkout.Root, "docs", "azure-cost.md")).ReplaceLineEndings("\n");

    [Fact]
    public void The_tables_follow_from_the_parameters()
    {
        var parameters = AzureCost.Parameters(Page);
        foreach (var table in (IEnumerable<string>[])[AzureCost.Costs(parameters), AzureCost.Limits(parameters), AzureCost.Reboots(parameters)])
            Assert.Contains($"\n\n{string.Join('\n', table)}\n\n", Page, StringComparison.Ordinal);
    }

    [Fact]
    public void What_it_says_of_the_templates_is_so()
    {
        var parameters = AzureCost.Parameters(Page).ToDictionary(static p => p.Key, static p => p.Value.ToString(CultureInfo.InvariantCulture));
        var prod = Read("infra", "prod.bicepparam");
        Assert.Contains($"param keepVerdictsDays = {parameters["days"]}\n", prod, StringComparison.Ordinal);
        Assert.Contains($"param perInstanceConcurrency = {parameters["concurrency"]}\n", prod, StringComparison.Ordinal);
        Assert.Contains($"param instanceMemoryMB = {int.Parse(parameters["memory"], CultureInfo.InvariantCulture) * 1024}\n", prod, StringComparison.Ordinal);
        Assert.Contains($"param traceRatio = '{parameters["ratio"]}'", prod, StringComparison.Ordinal);
        Assert.Contains($"param maximumInstances = {parameters["instances"]}\n", prod, StringComparison.Ordinal);
        Assert.Equal(parameters["endpoints"], Regex.Count(Read("infra", "prod.snapshot.json"), "\"type\": \"Microsoft.Network/privateEndpoints\"").ToString(CultureInfo.InvariantCulture));
        Assert.Matches($@"@maxValue\({parameters["accounts"]}\)\n@description\([^\n]*\)\nparam stateAccounts int", Read("infra", "main.bicep"));
    }

    private static string Read(params string[] path) => File.ReadAllText(Path.Combine([Checkout.Root, .. path])).ReplaceLineEndings("\n");
}

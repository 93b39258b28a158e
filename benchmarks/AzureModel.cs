using System.Globalization;

namespace Keylime.Benchmarks;

/// <summary><c>benchmarks/model</c>: the tables of docs/azure-cost.md; <c>--set NAME=VALUE</c> puts another value in the place of a parameter.</summary>
internal static class AzureModel
{
    public static int Command(string[] args)
    {
        if (args is not [var page, .. var settings])
            throw new BenchmarkException("The page with the parameters is wanted.");
        var parameters = AzureCost.Parameters(File.ReadAllText(page));
        for (var i = 0; i < settings.Length; i += 2)
        {
            if (settings[i] != "--set" || i + 1 == settings.Length || settings[i + 1].Split('=') is not [var name, var text] || !parameters.ContainsKey(name)
                || !double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var value))
                throw new BenchmarkException($"--set NAME=NUMBER is expected, with a name of {page}: {string.Join(", ", parameters.Keys)}.");
            parameters[name] = value;
        }

        foreach (var line in (IEnumerable<string>)[.. AzureCost.Costs(parameters), "", .. AzureCost.Limits(parameters), "", .. AzureCost.Reboots(parameters)])
            Console.WriteLine(line);
        return 0;
    }
}

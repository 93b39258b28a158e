using System.Globalization;

namespace Keylime.Benchmarks;

/// <summary>Arguments of a verb: <c>--name VALUE</c>, or <c>--name</c> alone for a switch.</summary>
internal sealed class Arguments
{
    private readonly Dictionary<string, string> _values = [];

    /// <param name="known">The names that take a value.</param>
    /// <param name="switches">The names that take none.</param>
    /// <exception cref="BenchmarkException">An argument is none of these, or has no value.</exception>
    public Arguments(ReadOnlySpan<string> args, IReadOnlyCollection<string> known, IReadOnlyCollection<string> switches)
    {
        for (var i = 0; i < args.Length; i++)
        {
            if (switches.Contains(args[i]))
                _values[args[i]] = "";
            else if (!known.Contains(args[i]))
                throw new BenchmarkException($"{args[i]} is no argument of this: {string.Join(", ", known.Concat(switches))} are.");
            else if (i + 1 == args.Length)
                throw new BenchmarkException($"{args[i]} takes a value.");
            else
                _values[args[i]] = args[++i];
        }
    }

    public bool Has(string name) => _values.ContainsKey(name);

    public string? Text(string name) => _values.GetValueOrDefault(name);

    /// <exception cref="BenchmarkException">It is no whole number of that range.</exception>
    public int Number(string name, int otherwise, int least, int most) => Text(name) switch
    {
        null => otherwise,
        var text when int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= least && number <= most => number,
        var text => throw new BenchmarkException($"{name}: '{text}' is no whole number from {least} to {most}."),
    };
}

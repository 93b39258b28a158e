using System.Globalization;

namespace Keylime.Benchmarks.Suite;

/// <summary>One line of the table: what was measured in several runs, and what it is to be held against.</summary>
/// <param name="Name">Stable: two results are compared by it.</param>
/// <param name="Figures">One of each run.</param>
/// <param name="MoreIsBetter">False where less is.</param>
internal sealed record Row(string Name, string Unit, IReadOnlyList<double> Figures, bool MoreIsBetter)
{
    /// <summary>What it is a ratio to, measured in the same run; null where it stands for itself.</summary>
    public string? Peer { get; init; }

    public IReadOnlyList<double> PeerFigures { get; init; } = [];

    /// <summary>Of design.md section 8: of the ratio where there is a peer, of the figure where there is none. Null where nothing was promised.</summary>
    public double? Budget { get; init; }

    /// <summary>What one should know of it.</summary>
    public string Note { get; init; } = "";

    public double Median => MedianOf(Figures);

    /// <summary>Half of what lies between the quartiles, in parts of the median.</summary>
    public double Spread => SpreadOf(Figures);

    /// <summary>Of each run with its own peer, where they were measured in turns.</summary>
    public double? Ratio => PeerFigures.Count == 0 ? null
        : PeerFigures.Count == Figures.Count ? MedianOf([.. Figures.Zip(PeerFigures, static (figure, peer) => figure / peer)]) : Median / MedianOf(PeerFigures);

    /// <summary>Whether the budget is met; null where there is none.</summary>
    public bool? Met => Budget is not { } budget ? null : (Ratio ?? Median) is var value && MoreIsBetter ? (Ratio ?? Median) >= budget : (Ratio ?? Median) <= budget;

    public static double MedianOf(IReadOnlyList<double> figures) => Quantile([.. figures.Order()], 0.5);

    private static double SpreadOf(IReadOnlyList<double> figures)
    {
        double[] sorted = [.. figures.Order()];
        return sorted.Length < 2 || Quantile(sorted, 0.5) == 0 ? 0 : (Quantile(sorted, 0.75) - Quantile(sorted, 0.25)) / 2 / Math.Abs(Quantile(sorted, 0.5));
    }

    private static double Quantile(double[] sorted, double part)
    {
        var place = part * (sorted.Length - 1);
        var below = (int)place;
        return sorted[below] + (place - below) * (sorted[Math.Min(below + 1, sorted.Length - 1)] - sorted[below]);
    }

    public static string Say(double value) => Math.Abs(value) switch
    {
        >= 1000 => value.ToString("N0", CultureInfo.InvariantCulture),
        >= 100 => value.ToString("N1", CultureInfo.InvariantCulture),
        >= 1 => value.ToString("N2", CultureInfo.InvariantCulture),
        _ => value.ToString("0.####", CultureInfo.InvariantCulture),
    };
}

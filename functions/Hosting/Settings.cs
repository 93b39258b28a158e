using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Keylime.Functions.Telemetry;

namespace Keylime.Functions.Hosting;

/// <summary>
/// Reads the settings: the environment, and the command line over it. Whatever is wrong is told, all of it at once: who has mended one mistake is not to be told of the next one then.
/// </summary>
internal static partial class Settings
{
    public const string CheckFlag = "--check-settings";

    /// <summary>Where the Functions host says that it has started us.</summary>
    public const string HandlerPort = "FUNCTIONS_CUSTOMHANDLER_PORT";

    private const int Column = 32;
    private const int Width = 150;

    /// <summary>What <c>--help</c> prints.</summary>
    public static string Usage { get; } = WriteUsage();

    /// <param name="environment">All of it: a name that begins like ours and is none is a mistake.</param>
    /// <param name="errors">Each in a sentence: what is set, where, and what is expected.</param>
    public static bool TryRead(
        IReadOnlyList<string> args, IReadOnlyDictionary<string, string> environment, [NotNullWhen(true)] out ServiceOptions? options, out IReadOnlyList<string> errors)
    {
        var wrong = new List<string>();
        Given[] given = [.. InEnvironment(environment, wrong), .. OnCommandLine(args, wrong)];
        var read = new ServiceOptions();
        foreach (var (setting, value, where) in given)
        {
            if (setting.Set(read, value) is { } next)
                read = next;
            else
                wrong.Add($"{where}: '{value}' is not what is expected: {setting.Expected}.");
        }

        if (environment.TryGetValue(HandlerPort, out var text))
        {
            if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and <= ushort.MaxValue)
                read = read with { HandlerPort = port };
            else
                wrong.Add($"{HandlerPort}: '{text}' is no port. The Functions host sets it; nobody else should.");
        }

        read = read with { Telemetry = TelemetryVariables.In(environment) };
        wrong.AddRange(read.Telemetry.Objections());
        wrong.AddRange(given.Where(one => one.Setting.Needs is { } needed && given.All(other => other.Setting.Name != needed))
            .Select(static one => $"{one.Where}: without --{one.Setting.Needs} it has no effect."));
        wrong.AddRange(Contradictions(read));
        errors = wrong;
        options = wrong.Count == 0 ? read : null;
        return options is not null;
    }

    /// <summary>What is set, in words, a line each. No setting is a secret: those are in files or in the vault.</summary>
    public static string Describe(IReadOnlyList<string> args, IReadOnlyDictionary<string, string> environment)
    {
        var text = new StringBuilder();
        foreach (var given in InEnvironment(environment, []).Concat(OnCommandLine(args, [])).GroupBy(static one => one.Setting.Name))
            text.AppendLine(CultureInfo.InvariantCulture, $"  {given.Key,-Column}{string.Join(',', (given.Last().Setting.Repeats ? given : given.TakeLast(1)).Select(static one => one.Value))}  ({given.Last().Where})");
        return text.Length == 0 ? "  nothing: the defaults hold\n" : text.ToString();
    }

    private static IEnumerable<string> Contradictions(ServiceOptions read)
    {
        if (read.RegistrarHttp is { } plain && plain.Authority == read.Listen.Authority && plain.Port != 0)
            yield return $"--registrar-http and --listen both take {plain.Authority}: one address answers with TLS or without it.";
        if (read is { HandlerPort: not null, RegistrarHttp: not null })
            yield return "--registrar-http: under the Functions host there is no listener but the host's.";
        if (read is { HandlerPort: not null, UsesAzure: false })
            yield return "--azure-account: it is missing. Under the Functions host the data directory goes with the instance, and all state with it.";
        if (read is { EntraTenant: not null, EntraAudiences.Count: 0 })
            yield return "--entra-audience: it is missing. Without it tokens that were made for any other application would do.";
        foreach (var twice in read.AzureAccounts.GroupBy(static a => a).Where(static group => group.Count() > 1))
            yield return $"--azure-account: '{twice.Key}' is named twice.";
    }

    private static IEnumerable<Given> InEnvironment(IReadOnlyDictionary<string, string> environment, List<string> wrong)
    {
        foreach (var (name, value) in environment.Where(static pair => pair.Key.StartsWith(Setting.Prefix, StringComparison.Ordinal)).OrderBy(static pair => pair.Key, StringComparer.Ordinal))
        {
            if (SettingsTable.All.FirstOrDefault(setting => setting.Variable == name) is not { } known)
            {
                if (!OfKubernetes().IsMatch(name[Setting.Prefix.Length..]))
                    wrong.Add($"{name}: there is no such setting.{Nearest(name, static setting => setting.Variable)}");
            }
            else if (value.Length > 0) // how a template says that it sets none
            {
                yield return new Given(known, value, name);
            }
        }
    }

    private static IEnumerable<Given> OnCommandLine(IReadOnlyList<string> args, List<string> wrong)
    {
        for (var i = 0; i < args.Count; i++)
        {
            if (args[i] is CheckFlag or HealthProbe.Flag)
                continue;
            var parts = args[i].Split('=', 2);
            if (!parts[0].StartsWith("--", StringComparison.Ordinal))
                wrong.Add($"'{args[i]}': a setting is expected, as --name VALUE.");
            else if (SettingsTable.All.FirstOrDefault(setting => "--" + setting.Name == parts[0]) is not { } known)
            {
                wrong.Add($"{parts[0]}: there is no such setting.{Nearest(parts[0], static setting => "--" + setting.Name)}");
                if (parts.Length == 1 && i + 1 < args.Count && !args[i + 1].StartsWith("--", StringComparison.Ordinal))
                    i++; // its value is no second mistake
            }
            else if (parts.Length == 2)
                yield return new Given(known, parts[1], parts[0]);
            else if (i + 1 < args.Count)
                yield return new Given(known, args[++i], parts[0]);
            else
                wrong.Add($"{parts[0]}: a value is missing: {known.Expected}.");
        }
    }

    private static string Nearest(string name, Func<Setting, string> of)
    {
        var (best, distance) = SettingsTable.All.Select(setting => (of(setting), Distance(of(setting), name))).MinBy(static pair => pair.Item2);
        return distance <= 3 ? $" Is {best} meant?" : "";
    }

    // Levenshtein's.
    private static int Distance(string one, string other)
    {
        int[] row = [.. Enumerable.Range(0, other.Length + 1)];
        for (var i = 1; i <= one.Length; i++)
        {
            var corner = row[0]++;
            for (var j = 1; j <= other.Length; j++)
                (row[j], corner) = (Math.Min(Math.Min(row[j], row[j - 1]) + 1, corner + (one[i - 1] == other[j - 1] ? 0 : 1)), row[j]);
        }

        return row[^1];
    }

    private static string WriteUsage()
    {
        var text = new StringBuilder("Keylime.Functions: Keylime's registrar and verifier.\n\n");
        foreach (var setting in SettingsTable.All)
            WriteOption(text, $"--{setting.Name} {setting.Value}", setting.Words + (setting.Repeats ? "; may be repeated" : ""));
        WriteOption(text, CheckFlag, "tell whether the settings are good, and do nothing else");
        WriteOption(text, HealthProbe.Flag, "tell whether the service that runs on this data directory is well, and do nothing else");
        text.Append("\nEach may be set in the environment: KEYLIME_SERVICE_DATA, KEYLIME_SERVICE_LISTEN … (what may be repeated, separated by commas).");
        return text.ToString();
    }

    private static void WriteOption(StringBuilder text, string option, string words)
    {
        text.Append("  ").Append(option.PadRight(Column));
        var at = Column;
        foreach (var word in words.Split(' '))
        {
            if (at + word.Length >= Width)
            {
                text.Append('\n').Append(' ', Column + 2);
                at = Column;
            }

            text.Append(at == Column ? "" : " ").Append(word);
            at += word.Length + 1;
        }

        text.Append('\n');
    }

    // Kubernetes tells each container of services named 'keylime' or 'keylime-service' by such names.
    [GeneratedRegex("^(SERVICE_)?(SERVICE_)?(HOST|PORT)(_.*)?$")]
    private static partial Regex OfKubernetes();

    private sealed record Given(Setting Setting, string Value, string Where);
}

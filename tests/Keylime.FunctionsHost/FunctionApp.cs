using System.Text.Json;
using System.Text.RegularExpressions;

namespace Keylime.FunctionsHost;

/// <summary>What a host finds in a package: host.json, and a folder with function.json for each function. Whatever the real host would not take is refused.</summary>
internal sealed partial class FunctionApp
{
    private FunctionApp(string root, JsonElement host, IReadOnlyList<AppFunction> functions) => (Root, Host, Functions) = (root, host, functions);

    public string Root { get; }

    public JsonElement Host { get; }

    public IReadOnlyList<AppFunction> Functions { get; }

    public string Executable => Path.Combine(Root, Host.GetProperty("customHandler").GetProperty("description").GetProperty("defaultExecutablePath").GetString()!);

    public string RoutePrefix => Host.GetProperty("extensions").GetProperty("http").GetProperty("routePrefix").GetString()!;

    public bool Switch(string name) => Host.GetProperty("customHandler").TryGetProperty(name, out var value) && value.GetBoolean();

    /// <summary>How messages of queues are handed out.</summary>
    public QueueSettings Queues => QueueSettings.Of(Host.GetProperty("extensions").TryGetProperty("queues", out var queues) ? queues : default);

    [GeneratedRegex("^[a-z][a-z0-9_-]{0,127}$", RegexOptions.IgnoreCase)]
    private static partial Regex Name { get; }

    /// <param name="locally">As on a developer's machine, where local.settings.json is beside the package.</param>
    /// <exception cref="InvalidDataException">The host would not take it.</exception>
    public static FunctionApp Load(string root, bool locally = false)
    {
        var host = Read(Path.Combine(root, "host.json"));
        if (host.GetProperty("version").GetString() != "2.0")
            throw new InvalidDataException("host.json: version 2.0 is expected.");
        if (!locally && File.Exists(Path.Combine(root, "local.settings.json")))
            throw new InvalidDataException("local.settings.json is for a developer's machine, and holds secrets.");
        var functions = Directory.EnumerateFiles(root, "function.json", new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 1 })
            .Order(StringComparer.Ordinal).Select(AppFunction.Load).ToArray();
        if (functions.Length == 0)
            throw new InvalidDataException("There is no function.");
        foreach (var function in functions)
        {
            if (!Name.IsMatch(function.Name) || function.Name.Equals("host", StringComparison.OrdinalIgnoreCase))
                throw new InvalidDataException($"'{function.Name}' is no name of a function.");
            if (function.Route is { } route && (route.StartsWith("admin", StringComparison.OrdinalIgnoreCase) || route.StartsWith("runtime", StringComparison.OrdinalIgnoreCase)))
                throw new InvalidDataException($"{function.Name}: the route '{route}' begins as the host's own do.");
        }

        // HTTP and timers are in the host; queues come with the bundle, and Flex Consumption takes no older one than 4.
        if (functions.Any(static f => f.Kind == "queueTrigger")
            && !(host.TryGetProperty("extensionBundle", out var bundle) && bundle.GetProperty("id").GetString() == "Microsoft.Azure.Functions.ExtensionBundle"
                && bundle.GetProperty("version").GetString() == "[4.0.0, 5.0.0)"))
        {
            throw new InvalidDataException("host.json: a queue trigger is there, and the extension bundle that knows it is not named.");
        }

        return new FunctionApp(root, host, functions);
    }

    private static JsonElement Read(string path) => JsonDocument.Parse(File.ReadAllBytes(path)).RootElement;
}

/// <summary>A function, by its one trigger.</summary>
/// <param name="Kind"><c>httpTrigger</c>, <c>timerTrigger</c> or <c>queueTrigger</c>.</param>
/// <param name="Binding">The trigger's name.</param>
internal sealed record AppFunction(string Name, string Kind, string Binding)
{
    /// <summary>Of an HTTP function.</summary>
    public string? Route { get; private init; }

    public IReadOnlyList<string> Methods { get; private init; } = [];

    public string AuthLevel { get; private init; } = "function";

    /// <summary>Of a timer: six fields.</summary>
    public string? Schedule { get; private init; }

    public string? Queue { get; private init; }

    /// <summary>Of a queue: the name of the setting, or of the group of settings, that say where it is.</summary>
    public string? Connection { get; private init; }

    /// <summary>Whether a message is handed out as its bytes, in Base64.</summary>
    public bool IsBinary { get; private init; }

    /// <exception cref="InvalidDataException">The host would not take it.</exception>
    public static AppFunction Load(string path)
    {
        var name = Path.GetFileName(Path.GetDirectoryName(path)!);
        using var document = JsonDocument.Parse(File.ReadAllBytes(path));
        var bindings = document.RootElement.GetProperty("bindings").EnumerateArray().ToArray();
        var triggers = bindings.Where(static b => b.GetProperty("type").GetString()!.EndsWith("Trigger", StringComparison.Ordinal)).ToArray();
        if (triggers is not [var trigger])
            throw new InvalidDataException($"{name}: one trigger is expected.");
        var kind = trigger.GetProperty("type").GetString()!;
        if (kind == "httpTrigger" && bindings.Length != 2)
            throw new InvalidDataException($"{name}: only a function of one HTTP trigger and one HTTP output is forwarded as it is.");
        var schedule = Text(trigger, "schedule");
        if (kind == "timerTrigger" && schedule?.Split(' ').Length != 6)
            throw new InvalidDataException($"{name}: a schedule of six fields is expected.");
        if (kind == "queueTrigger" && (Text(trigger, "queueName") is null || Text(trigger, "connection") is null))
            throw new InvalidDataException($"{name}: a queueName and a connection are expected.");
        return new AppFunction(name, kind, Text(trigger, "name")!)
        {
            Route = Text(trigger, "route"),
            Methods = trigger.TryGetProperty("methods", out var methods) ? [.. methods.EnumerateArray().Select(static m => m.GetString()!.ToUpperInvariant())] : [],
            AuthLevel = Text(trigger, "authLevel") ?? "function",
            Schedule = schedule,
            Queue = Text(trigger, "queueName"),
            Connection = Text(trigger, "connection"),
            IsBinary = Text(trigger, "dataType") == "binary",
        };
    }

    private static string? Text(JsonElement element, string name) => element.TryGetProperty(name, out var value) ? value.GetString() : null;
}

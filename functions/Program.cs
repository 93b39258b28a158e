using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;

if (args is ["--help" or "-h"])
{
    Console.WriteLine(Settings.Usage);
    return 0;
}

var environment = Environment.GetEnvironmentVariables().Cast<System.Collections.DictionaryEntry>().ToDictionary(static e => (string)e.Key, static e => (string?)e.Value ?? "");
if (!Settings.TryRead(args, environment, out var options, out var errors))
{
    foreach (var error in errors)
        Console.Error.WriteLine($"error: {error}");
    Console.Error.WriteLine("hint: Keylime.Functions --help tells the settings.");
    return 2;
}

if (args.Contains(Settings.CheckFlag))
{
    Console.Write($"The settings are good. Set is:\n{Settings.Describe(args, environment)}");
    return 0;
}

if (args.Contains(HealthProbe.Flag))
{
    if (await HealthProbe.AskAsync(options, CancellationToken.None) is not { } why)
        return 0;
    Console.Error.WriteLine($"error: the service on {options.Data} is not well: {why}");
    return 1;
}

try
{
    await using var service = Service.Build(options);
    await service.RunAsync();
    return 0;
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException or StorageUnavailableException or InvalidDataException or VaultUnavailableException)
{
    Console.Error.WriteLine($"error: the service cannot start: {e.Message}");
    Console.Error.WriteLine($"hint: it needs its data directory, {options.Data}, for itself, and its address, {options.Listen}.");
    return 1;
}

using Keylime.Functions.Hosting;
using Keylime.Functions.Keys;
using Keylime.Functions.Storage;

if (args is ["--help" or "-h"])
{
    Console.WriteLine(ServiceOptions.Usage);
    return 0;
}

if (!ServiceOptions.TryParse(args, Environment.GetEnvironmentVariable, out var options, out var error))
{
    Console.Error.WriteLine($"error: {error}");
    Console.Error.WriteLine("hint: Keylime.Functions --help tells the options.");
    return 2;
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

using System.Runtime.InteropServices;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json.Nodes;
using Keylime.FunctionsHost;

// Stands in for func where there are no Core Tools: func start --port PORT --useHttps --cert FILE.pfx --password FILE, in the folder of a package, with local.settings.json in it.
if (args is not ["start", "--port", var portText, "--useHttps", "--cert", var certificatePath, "--password", var passwordPath] || !int.TryParse(portText, out var port))
{
    Console.Error.WriteLine("usage: Keylime.FunctionsHost start --port PORT --useHttps --cert FILE.pfx --password FILE");
    return 2;
}

using var stop = new CancellationTokenSource();
using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
var root = Environment.CurrentDirectory;
var settings = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(root, "local.settings.json")))!["Values"]!.AsObject().ToDictionary(static s => s.Key, static s => s.Value!.GetValue<string>());
if (settings.GetValueOrDefault("FUNCTIONS_WORKER_RUNTIME") != "custom")
{
    Console.Error.WriteLine("error: local.settings.json does not say FUNCTIONS_WORKER_RUNTIME custom");
    return 1;
}

var certificate = X509CertificateLoader.LoadPkcs12FromFile(certificatePath, (await File.ReadAllTextAsync(passwordPath)).Trim());
await using var host = await FunctionsHostServer.StartAsync(FunctionApp.Load(root, locally: true), HostMode.Forwarding, settings, port, certificate, stop.Token);
host.OpenAdministration();
foreach (var function in host.App.Functions)
    Console.WriteLine($"{function.Name}: {function.Kind}");
try
{
    await Task.Delay(Timeout.Infinite, stop.Token);
}
catch (OperationCanceledException)
{
    // that is how it ends
}

return 0;

void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stop.Cancel();
}

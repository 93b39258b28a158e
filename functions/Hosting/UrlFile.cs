using System.Text;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;

namespace Keylime.Functions.Hosting;

/// <summary>Says in a file where the service really listens, for as long as it does.</summary>
internal sealed class UrlFile(IServer server, IHostApplicationLifetime lifetime, ServiceOptions options) : IHostedService
{
    private string Path => System.IO.Path.Combine(options.Data, "url");

    public Task StartAsync(CancellationToken cancellationToken)
    {
        File.Delete(Path); // of a run that was killed
        lifetime.ApplicationStarted.Register(Write);
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        File.Delete(Path);
        return Task.CompletedTask;
    }

    private void Write()
    {
        var addresses = server.Features.Get<IServerAddressesFeature>()?.Addresses ?? [];
        if (addresses.FirstOrDefault(a => a.StartsWith("https:", StringComparison.Ordinal)) is not { } bound)
            return;
        var url = new UriBuilder(bound);
        if (url.Host is "0.0.0.0" or "[::]")
            url.Host = System.Net.Dns.GetHostName();
        PrivateFiles.Write(Path, Encoding.ASCII.GetBytes(url.Uri.GetLeftPart(UriPartial.Authority) + "\n"));
    }
}

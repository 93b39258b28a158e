using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Keylime.Functions.Storage;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Functions.Tests;

/// <summary>The receiver that docs/webhooks.md shows, as it stands there.</summary>
public sealed class ReceiverExampleTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task The_documents_example_takes_genuine_messages_once_and_no_others()
    {
        var folder = Directory.CreateTempSubdirectory("receiver-").FullName;
        var port = FreePort();
        var text = await File.ReadAllTextAsync(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "..", "docs", "webhooks.md"), Cancel);
        await File.WriteAllTextAsync(Path.Combine(folder, "receiver.py"), text.Split("```python\n")[1].Split("```")[0], Cancel);
        await using var service = await TestService.StartAsync(clock: new FakeTimeProvider(TimeProvider.System.GetUtcNow()), configure: o => o with { AllowedOutbound = [$"127.0.0.1:{port}"] });
        var put = (await service.Operator.SendAsync("PUT", "/v1/webhooks/w", new JsonObject { ["url"] = $"http://127.0.0.1:{port}/", ["events"] = new JsonArray("node.*") })).Expect(HttpStatusCode.OK);
        await File.WriteAllTextAsync(Path.Combine(folder, "secret.txt"), put["webhook"]!["secret"]!.GetValue<string>() + "\n", Cancel);

        using var python = Process.Start(new ProcessStartInfo("python3", [Path.Combine(folder, "receiver.py"), $"{port}", Path.Combine(folder, "secret.txt")]) { RedirectStandardOutput = true })!;
        try
        {
            while (!await TestAsync())
                await Task.Delay(50, Cancel);
            await service.HappenAsync("node", EventTypes.NodeFailed, 7);
            await service.DeliverAsync();
            service.Clock.Advance(TimeSpan.FromSeconds(1));
            (await service.Operator.SendAsync("POST", "/v1/webhooks/w/replay?since=2020-01-01")).Expect(HttpStatusCode.Accepted); // it knows this one
            await service.DeliverAsync();
            Assert.Equal(["delivered", "delivered"], (await service.DeliveriesAsync("w")).Select(static d => d["state"]!.GetValue<string>()));
            (await service.Operator.SendAsync("POST", "/v1/webhooks/w/rotate", """{"formerHours":1}""")).Expect(HttpStatusCode.OK);
            Assert.True(await TestAsync());

            (await service.Operator.SendAsync("POST", "/v1/webhooks/w/rotate", """{"formerHours":0}""")).Expect(HttpStatusCode.OK);
            var refused = (await service.Operator.SendAsync("POST", "/v1/webhooks/w/test")).Expect(HttpStatusCode.OK);
            Assert.Equal((false, 401), (refused["delivered"]!.GetValue<bool>(), refused["status"]!.GetValue<int>()));
        }
        finally
        {
            python.Kill();
        }

        var told = (await python.StandardOutput.ReadToEndAsync(Cancel)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["dev.keylime.webhook.test", "dev.keylime.node.failed", "dev.keylime.webhook.test"], told.Select(static line => line.Split(' ')[0]));
        Assert.Equal("dev.keylime.node.failed node node.failed 7", told[1]);
        Directory.Delete(folder, recursive: true);

        async Task<bool> TestAsync() => (await service.Operator.SendAsync("POST", "/v1/webhooks/w/test")).Expect(HttpStatusCode.OK)["delivered"]!.GetValue<bool>();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}

using System.Net;
using System.Net.Sockets;
using Keylime.Testing;

namespace Keylime.Tpm.Tests;

/// <summary>The ways to a TPM, and what is said where there is none.</summary>
public static class DeviceTests
{
    private static readonly byte[] GetRandom2 = Structures.Hex("8001 0000000c 0000017b 0002");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("tabrmd:")]
    [InlineData("tpm0")]
    [InlineData("device:tpm0")]
    [InlineData("swtpm:port=0")]
    [InlineData("swtpm:port=65536")]
    [InlineData("swtpm:port=x")]
    [InlineData("swtpm:host=")]
    [InlineData("swtpm:path=")]
    [InlineData("swtpm:prot=1")]
    public static void A_name_that_is_none_is_refused_with_what_is_expected(string spec)
    {
        var refused = Assert.Throws<FormatException>(() => TpmDevices.Open(spec));
        Assert.Contains($"'{spec}'", refused.Message, StringComparison.Ordinal);
        Assert.Contains("/dev/tpmrm0", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public static void A_socket_path_that_no_socket_can_have_is_refused() =>
        Assert.Throws<FormatException>(() => TpmDevices.Open("swtpm:path=/" + new string('x', 107)));

    [Theory]
    [InlineData("swtpm:host=127.0.0.1,port=2321")]
    [InlineData("swtpm:port=2321")]
    [InlineData("swtpm:path=/run/none.sock")]
    public static async Task A_swtpm_is_not_sought_before_it_is_used(string spec) => await TpmDevices.Open(spec).DisposeAsync();

    [Theory]
    [InlineData("/dev/no-such-tpm")]
    [InlineData("device:/no/such/folder/tpm0")]
    public static void A_device_that_is_missing(string spec)
    {
        var missing = Assert.Throws<TpmDeviceException>(() => TpmDevices.Open(spec));
        Assert.Equal($"There is no TPM device {spec.Replace("device:", "", StringComparison.Ordinal)}.", missing.Message);
    }

    [Fact]
    public static void A_device_that_may_not_be_opened()
    {
        // A folder is refused like a device without permission; root, who may run the tests, is refused nothing else.
        var refused = Assert.Throws<TpmDeviceException>(() => TpmDevices.Open("/dev"));
        Assert.Contains("/dev may not be opened", refused.Message, StringComparison.Ordinal);
        Assert.Contains("tss", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public static async Task A_swtpm_that_is_missing()
    {
        await using var device = TpmDevices.Open("swtpm:path=/run/no-such-swtpm.sock");
        var missing = await Assert.ThrowsAsync<TpmDeviceException>(async () => await device.SendAsync(GetRandom2, Cancel));
        Assert.Contains("/run/no-such-swtpm.sock cannot be reached", missing.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "closed the connection before its response ended")]
    [InlineData("8001 0000000e 0000", "closed the connection before its response ended")]
    [InlineData("8001 0000000e 00000000 00", "closed the connection before its response ended")]
    [InlineData("8001 00000009 00000000", "A response says it has 9 bytes; 10 to 4096 are expected.")]
    [InlineData("8001 00001001 00000000", "A response says it has 4097 bytes; 10 to 4096 are expected.")]
    [InlineData("8001 ffffffff 00000000", "A response says it has 4294967295 bytes; 10 to 4096 are expected.")]
    public static async Task A_broken_response_over_TCP(string response, string message)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var served = ServeAsync(listener, Structures.Hex(response));
        await using var device = TpmDevices.Open($"swtpm:host=127.0.0.1,port={((IPEndPoint)listener.LocalEndpoint).Port}");
        var broken = await Assert.ThrowsAsync<TpmDeviceException>(async () => await device.SendAsync(GetRandom2, Cancel));
        Assert.Contains(message, broken.Message, StringComparison.Ordinal);
        await served;
    }

    [Fact]
    public static async Task A_response_in_pieces_over_TCP()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var response = Structures.Hex("8001 0000000e 00000000 0002 abcd");
        var served = ServeAsync(listener, response, piece: 3);
        await using var device = TpmDevices.Open($"swtpm:port={((IPEndPoint)listener.LocalEndpoint).Port}");
        Assert.Equal(response, (await device.SendAsync(GetRandom2, Cancel)).ToArray());
        await served;
    }

    private static async Task ServeAsync(TcpListener listener, byte[] response, int piece = int.MaxValue)
    {
        using var socket = await listener.AcceptSocketAsync(Cancel);
        socket.NoDelay = true;
        await socket.ReceiveAsync(new byte[64], Cancel);
        foreach (var part in response.Chunk(Math.Min(piece, response.Length + 1)))
        {
            await socket.SendAsync(part, Cancel);
            await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System, Cancel);
        }
    }

    [Fact]
    public static async Task Many_share_a_swtpm()
    {
        await using var swtpm = await Swtpm.StartAsync(null, Cancel);
        var users = Enumerable.Range(0, 16).Select(async user =>
        {
            await using var tpm = swtpm.OpenClient();
            for (var i = 0; i < 20; i++)
                Assert.Equal(32, (await tpm.GetRandomAsync(32, Cancel)).Length);
            if (user % 8 == 0)
                await swtpm.RunToolAsync("tpm2_getrandom", "8", "--hex");
        });
        await Task.WhenAll(users);
    }

    [Fact]
    public static async Task A_swtpm_over_TCP()
    {
        await using var swtpm = await Swtpm.StartAsync(null, Cancel);
        using var relay = TcpRelay.Start(swtpm.SocketPath);
        await using var tpm = new TpmClient(TpmDevices.Open($"swtpm:host=localhost,port={relay.Port}"));
        Assert.Equal(100, (await tpm.GetRandomAsync(100, Cancel)).Length);
        Assert.NotEmpty(await tpm.GetPcrBanksAsync(Cancel));
    }

    [Theory]
    [InlineData("device:")]
    [InlineData("")]
    public static async Task A_character_device(string prefix)
    {
        await using var swtpm = await Swtpm.StartAsync(null, Cancel);
        using var device = PtyTpm.Start(swtpm.Spec);
        await using var tpm = new TpmClient(TpmDevices.Open(prefix + device.Path));

        Assert.Equal(48, (await tpm.GetRandomAsync(48, Cancel)).Length);
        await tpm.PcrExtendAsync(7, [(TpmAlgorithm.Sha256, new byte[32])], Cancel);
        var key = await tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkRsa2048, Cancel);
        await tpm.FlushContextAsync(key.Handle, Cancel);
        var selection = new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0, 7, 10));
        await using var other = swtpm.OpenClient();
        Assert.Equal((await other.PcrReadAsync(selection, Cancel)).Encode(), (await tpm.PcrReadAsync(selection, Cancel)).Encode());
    }

    [Fact]
    public static async Task A_swtpm_that_stops_and_starts_again_is_the_same_TPM()
    {
        await using var swtpm = await Swtpm.StartAsync(null, Cancel);
        await using var tpm = swtpm.OpenClient();
        var before = await tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
        await swtpm.StopAsync(shutdown: true);
        await Assert.ThrowsAsync<TpmDeviceException>(async () => await tpm.GetRandomAsync(1, Cancel));
        await swtpm.PowerOnAsync(Cancel);
        var after = await tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
        Assert.Equal(before.Name.ToArray(), after.Name.ToArray());
    }
}

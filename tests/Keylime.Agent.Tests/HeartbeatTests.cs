using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Time.Testing;

namespace Keylime.Agent.Tests;

/// <summary>What systemd is told, on a socket as systemd has one.</summary>
public sealed class HeartbeatTests
{
    [Fact]
    public void Signs_of_life_come_until_the_agent_is_overdue()
    {
        var path = Path.Combine(Directory.CreateTempSubdirectory("notify-").FullName, "notify");
        using var systemd = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        systemd.Bind(new UnixDomainSocketEndPoint(path));
        systemd.ReceiveTimeout = 2000;
        var clock = new FakeTimeProvider();
        using (var heart = new Heartbeat(name => name switch { "NOTIFY_SOCKET" => path, "WATCHDOG_USEC" => "120000000", _ => null }, clock))
        {
            Assert.Equal("READY=1", Receive());
            clock.Advance(TimeSpan.FromSeconds(60));
            Assert.Equal("WATCHDOG=1", Receive());
            heart.Expect(TimeSpan.FromMinutes(5)); // and ten minutes of grace
            for (var i = 0; i < 14; i++)
            {
                clock.Advance(TimeSpan.FromSeconds(60));
                Assert.Equal("WATCHDOG=1", Receive());
            }

            clock.Advance(TimeSpan.FromSeconds(180)); // it hangs: nothing more is told
            Assert.Equal(0, systemd.Available);
            heart.Expect(TimeSpan.FromSeconds(1));
            clock.Advance(TimeSpan.FromSeconds(60));
            Assert.Equal("WATCHDOG=1", Receive());
        }

        Assert.Equal("STOPPING=1", Receive());
        using var nobody = new Heartbeat(_ => null, clock); // not started by systemd
        Directory.Delete(Path.GetDirectoryName(path)!, recursive: true);

        string Receive()
        {
            var buffer = new byte[64];
            return Encoding.ASCII.GetString(buffer, 0, systemd.Receive(buffer));
        }
    }
}

using System.Globalization;
using System.Net;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;

namespace Keylime.Agent;

/// <content>What is between this machine and its service.</content>
internal sealed partial class Doctor
{
    private static readonly TimeSpan ClockTolerance = TimeSpan.FromMinutes(1);

    private async Task CheckNamesAsync(CancellationToken cancel)
    {
        foreach (var host in ((string[])[options.VerifierUrl.Host, options.RegistrarUrl.Host]).Distinct())
        {
            try
            {
                var addresses = await Dns.GetHostAddressesAsync(host.Trim('[', ']'), cancel);
                _lines.Ok("name resolution", $"{host} is {string.Join(", ", addresses.Select(static a => a.ToString()))}");
            }
            catch (System.Net.Sockets.SocketException e)
            {
                _lines.NotOk("name resolution", $"{host}: {e.Message}", "is the host's name in verifier_url or registrar_ip right, and does DNS know it?");
            }
        }
    }

    private async Task CheckServiceAsync(AgentId? id, CancellationToken cancel)
    {
        try
        {
            if (options.VerifierUrl.Scheme == Uri.UriSchemeHttps)
            {
                using var probe = new ServiceClient(options.VerifierUrl, options.VerifierCa);
                var answer = await probe.SendAsync(HttpMethod.Get, "version", null, null, static _ => true, cancel);
                _lines.Ok("TLS", $"{options.VerifierUrl} has a certificate of the CA in {options.VerifierCa}");
                CheckClock(answer.Date);
            }
            else
            {
                _lines.NotOk("TLS", $"{options.VerifierUrl} is without TLS", "give an https URL: tokens go over this connection");
                _lines.NotSeen("the connection is without TLS", "clock");
            }
        }
        catch (OptionsException e)
        {
            StopAt(e.Message, e.Hint);
            return;
        }
        catch (HttpRequestException e)
        {
            StopAt(e.Message, "is the service there, is no firewall between, and is verifier_tls_ca_cert its ca.pem?");
            return;
        }

        void StopAt(string why, string next)
        {
            _lines.NotOk("TLS", why, next);
            _lines.NotSeen("there is no connection to the service", "clock", "registrar", "verifier");
        }

        await CheckAnswerAsync("registrar", async () =>
        {
            using var registrar = new ServiceClient(options.RegistrarUrl, options.RegistrarCa);
            var answer = await registrar.SendAsync(HttpMethod.Get, "version", null, null, static s => s == HttpStatusCode.OK, cancel);
            var versions = ServiceClient.Read(answer, UpstreamJson.Default.EnvelopeVersionResults, "version").Results;
            return $"{options.RegistrarUrl} speaks {string.Join(", ", versions.SupportedVersions)}";
        });
        await CheckAnswerAsync("verifier", async () =>
        {
            // A challenge is given to whoever asks, and costs nothing.
            using var verifier = new ServiceClient(options.VerifierUrl, options.VerifierCa);
            var question = new SessionAttributes
            {
                AgentId = (id ?? AgentId.Parse("doctor")).ToString(),
                AuthenticationSupported = [new AuthenticationMethod(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType)],
            };
            var document = new Document<SessionAttributes>(new Resource<SessionAttributes>("session", question));
            await verifier.SendAsync(HttpMethod.Post, "v3.0/sessions", ServiceClient.Json(document, UpstreamJson.Default.DocumentSessionAttributes, jsonApi: true), null, static s => s == HttpStatusCode.OK, cancel);
            return $"{options.VerifierUrl} gives challenges";
        });
    }

    private async Task CheckAnswerAsync(string name, Func<Task<string>> ask)
    {
        try
        {
            _lines.Ok(name, await ask());
        }
        catch (Exception e) when (e is ServiceRefusedException or HttpRequestException or OptionsException)
        {
            _lines.NotOk(name, e.Message, name == "registrar"
                ? "is registrar_ip (with registrar_port) or verifier_url right? A service of ours has both under verifier_url"
                : "does this service speak Keylime's push protocol (API 3.0)?");
        }
    }

    private void CheckClock(DateTimeOffset? theirs)
    {
        if (theirs is not { } date)
        {
            _lines.NotOk("clock", "the service does not say its time", "what stands between the service and this machine leaves out the header Date");
            return;
        }

        var difference = (time.GetUtcNow() - date).Duration();
        if (difference <= ClockTolerance)
            _lines.Ok("clock", string.Create(CultureInfo.InvariantCulture, $"within {Math.Ceiling(difference.TotalSeconds)} s of the service's"));
        else
            _lines.NotOk("clock", $"it is {difference:c} away from the service's", "set it, and keep it set: systemd-timesyncd or chrony");
    }
}

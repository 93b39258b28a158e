using System.CommandLine;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime doctor</c>: everything between this tool and a service that works; each line ok or not, and what to do next.</summary>
internal static class DoctorCommand
{
    private const int Soon = 14;
    private static readonly TimeSpan ClockTolerance = TimeSpan.FromMinutes(1);

    public static Command Create(Surroundings surroundings, Formats formats)
    {
        var command = new Command("doctor", "Look at everything that the service needs, one by one.");
        command.SetAction(async (parsed, cancel) =>
        {
            var findings = new DoctorFindings(surroundings, formats, parsed);
            await RunAsync(surroundings, findings, cancel);
            findings.Finish();
            return findings.AllWell ? Exits.Ok : Exits.Failed;
        });
        return command;
    }

    private static async Task RunAsync(Surroundings surroundings, DoctorFindings findings, CancellationToken cancel)
    {
        Login login;
        try
        {
            login = Login.Load(surroundings);
            findings.Ok("login", login.Url.ToString());
        }
        catch (CliException e)
        {
            findings.NotOk("login", e.Message, e.Hint);
            return;
        }

        try
        {
            var addresses = await Dns.GetHostAddressesAsync(login.Url.Host.Trim('[', ']'), cancel);
            findings.Ok("name resolution", $"{login.Url.Host} is {string.Join(", ", addresses.Select(static a => a.ToString()))}");
        }
        catch (SocketException e)
        {
            findings.NotOk("name resolution", $"{login.Url.Host}: {e.Message}", "is the host's name right?");
            return;
        }

        using var api = new ServiceApi(login);
        if (await TryAsync("service", () => api.GetAsync("/health", ApiJson.Default.Health, cancel)) is not { } health)
            return;
        findings.Ok("TLS", "the certificate comes from the CA of this login");
        if (health.Status == "ok")
            findings.Ok("service", $"version {health.Version}, store {health.Store}");
        else
            findings.NotOk("store", $"{health.Store} does not answer", "the service's log says why");
        CheckClock();
        if (await TryAsync("token", () => api.GetAsync("/v1/nodes?limit=1", ApiJson.Default.NodeList, cancel)) is null)
            return;
        findings.Ok("token", "it opens the API");

        if (await TryAsync("trust", () => api.GetAsync("/v1/trust", ApiJson.Default.TrustList, cancel)) is { } trust)
            CheckTrust(trust);
        if (await TryAsync("policies", () => api.PoliciesAsync(cancel)) is { } policies)
            CheckPolicies(policies);
        if (await TryAsync("nodes", () => api.NodesAsync(null, cancel)) is { } nodes)
            CheckNodes(nodes);
        if (await TryAsync("rows", () => api.GetAsync($"/v1/events?limit=1&type=storage.row_unreadable&since={Uri.EscapeDataString(surroundings.Clock.GetUtcNow().AddDays(-1).ToString("O", CultureInfo.InvariantCulture))}", ApiJson.Default.EventList, cancel)) is { } unreadable)
            CheckRows(unreadable);

        async Task<T?> TryAsync<T>(string what, Func<Task<T>> ask)
            where T : class
        {
            try
            {
                return await ask();
            }
            catch (CliException e)
            {
                findings.NotOk(what, e.Message, e.Hint);
                return null;
            }
        }

        void CheckClock()
        {
            if (api.LastDate is not { } theirs)
                return;
            var difference = (surroundings.Clock.GetUtcNow() - theirs).Duration();
            if (difference <= ClockTolerance)
                findings.Ok("clock", string.Create(CultureInfo.InvariantCulture, $"within {Math.Ceiling(difference.TotalSeconds)} s of the service's"));
            else
                findings.NotOk("clock", $"{difference:c} away from the service's", "set both, and keep them set");
        }

        void CheckTrust(TrustList trust)
        {
            var now = surroundings.Clock.GetUtcNow();
            var roots = trust.Certificates.Count(static c => c.Root);
            if (roots == 0)
                findings.NotOk("trust", "no root is trusted: no endorsement certificate will do", "keylime trust add FILE, with the roots of your TPMs' makers");
            else
                findings.Ok("trust", string.Create(CultureInfo.InvariantCulture, $"{roots} roots, {trust.Certificates.Count - roots} intermediates"));
            foreach (var ending in trust.Certificates.Where(c => c.NotAfter < now.AddDays(Soon)))
                findings.NotOk("trust", $"'{ending.Subject}' is valid to {Output.Time(ending.NotAfter)} only", "add what its maker has put in its place");
        }

        void CheckPolicies(PolicyList policies)
        {
            if (policies.Policies.Count == 0)
                findings.NotOk("policies", "there is none: a node without a policy fails", "keylime policy create runtime and keylime policy put");
            else
                findings.Ok("policies", string.Create(CultureInfo.InvariantCulture, $"{policies.Policies.Count}"));
            foreach (var warned in policies.Policies.Where(static p => p.Warnings.Count > 0))
                findings.NotOk("policies", $"{warned.Name}: {warned.Warnings[0]}", "change the policy, or accept that");
        }

        void CheckRows(EventList unreadable)
        {
            if (unreadable.Events is [var last, ..])
                findings.NotOk("rows", last.Detail, "a newer version of the service may have written it, or the store is damaged: keylime events --type storage.row_unreadable tells all");
            else
                findings.Ok("rows", "none was met that cannot be read, in a day");
        }

        void CheckNodes(NodeList nodes)
        {
            var counts = string.Join(", ", nodes.Nodes.GroupBy(static n => n.State).OrderBy(static g => g.Key).Select(static g => string.Create(CultureInfo.InvariantCulture, $"{g.Count()} {g.Key.ToString().ToLowerInvariant()}")));
            findings.Ok("nodes", counts.Length == 0 ? "none yet" : counts);
            var waiting = nodes.Nodes.Count(static n => n.State == NodeState.Pending && n.Reason.StartsWith("Waits", StringComparison.Ordinal));
            if (waiting > 0)
                findings.NotOk("enrolment", string.Create(CultureInfo.InvariantCulture, $"{waiting} nodes wait for an operator"), "keylime node list --state pending, and keylime node approve ID; or a rule: keylime rule put");
        }
    }
}

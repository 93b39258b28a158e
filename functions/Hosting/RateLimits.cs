using System.Net;
using System.Net.Sockets;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary>
/// How often strangers may ask. First by agent and address, narrowly: what one agent does too often is not counted against those who share its address. By
/// the agent's name alone, anybody could lock an agent out. Then by address, generously, because many nodes share one.
/// </summary>
internal sealed class RateLimits(TimeProvider clock, ServiceOptions options)
{
    public const int PerAddress = 1000;
    public const int PerAgent = 15;
    public const int RegistrationsPerAgent = 30;
    public const int ReleasesPerAgent = 30;
    private const int ProofsPerAgent = 30;
    private const int Flood = 10 * PerAddress;

    private readonly RateLimit _floods = new(Flood, clock);
    private readonly RateLimit _addresses = new(PerAddress, clock);
    private readonly RateLimit _registrations = new(RegistrationsPerAgent, clock);
    private readonly RateLimit _agents = new(PerAgent, clock);
    private readonly RateLimit _proofs = new(ProofsPerAgent, clock);
    private readonly RateLimit _releases = new(ReleasesPerAgent, clock);

    /// <summary>Before anything of a request is read that may name an agent.</summary>
    public Refusal? CheckFlood(HttpContext context) => Refuse(_floods.Wait(Address(context)), "Rate limit exceeded. Please try again later.");

    /// <summary>Of a request that names no agent.</summary>
    public Refusal? CheckAddress(HttpContext context) => Refuse(_addresses.Wait(Address(context)), "Rate limit exceeded. Please try again later.");

    /// <summary>A claim costs a look at certificates, and perhaps for them.</summary>
    public Refusal? CheckRegistration(HttpContext context, AgentId agent) => CheckAgent(_registrations, context, agent);

    public Refusal? CheckSession(HttpContext context, AgentId agent) => CheckAgent(_agents, context, agent);

    /// <summary>A wrong proof costs a signature check, so there are few.</summary>
    public Refusal? CheckProof(HttpContext context, AgentId agent) => CheckAgent(_proofs, context, agent);

    /// <summary>Of an agent that has proven who it is: each release costs the vault an unwrapping, and the ledger a line.</summary>
    public Refusal? CheckRelease(AgentId agent) => Refuse(_releases.Wait(agent.ToString()), "Rate limit exceeded for this agent. Please try again later.");

    /// <summary>
    /// Whoever proved who it is does not count against its address: any number of nodes may stand behind one, and only what nobody answers for is limited.
    /// </summary>
    public void Proven(HttpContext context)
    {
        const int requests = 2; // what led to the proof, and the proof
        _addresses.GiveBack(Address(context), requests);
        _floods.GiveBack(Address(context), requests);
    }

    private Refusal? CheckAgent(RateLimit limit, HttpContext context, AgentId agent) =>
        Refuse(limit.Wait($"{agent} {Address(context)}"), "Rate limit exceeded for this agent. Please try again later.") ?? CheckAddress(context);

    private static Refusal? Refuse(int wait, string detail) => wait == 0
        ? null
        : new Refusal(StatusCodes.Status429TooManyRequests, "rate_limited", detail) { RetryAfter = wait };

    private string Address(HttpContext context)
    {
        // Behind the Functions host everything comes from the loopback; the last hop is what the platform's front end saw.
        var forwarded = options.HandlerPort is null ? null : context.Request.Headers["X-Forwarded-For"].ToString().Split(',')[^1].Trim();
        var address = IPEndPoint.TryParse(forwarded ?? "", out var endpoint) ? endpoint.Address : context.Connection.RemoteIpAddress;
        if (address is { AddressFamily: AddressFamily.InterNetworkV6, IsIPv4MappedToIPv6: false })
            return Convert.ToHexStringLower(address.GetAddressBytes().AsSpan(0, 8)); // a subscriber has a /64 at least
        return address?.ToString() ?? "";
    }
}

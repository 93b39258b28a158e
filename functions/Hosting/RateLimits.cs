using System.Net;
using System.Net.Sockets;
using Keylime.Protocol;

namespace Keylime.Functions.Hosting;

/// <summary>
/// How often strangers may ask. By address generously, because many nodes share one; by agent and address narrowly:
/// by the agent's name alone, anybody could lock an agent out.
/// </summary>
internal sealed class RateLimits(TimeProvider clock, ServiceOptions options)
{
    public const int PerAddress = 1000;
    public const int PerAgent = 15;
    private const int ProofsPerAgent = 30;

    private readonly RateLimit _addresses = new(PerAddress, clock);
    private readonly RateLimit _agents = new(PerAgent, clock);
    private readonly RateLimit _proofs = new(ProofsPerAgent, clock);

    public Refusal? CheckAddress(HttpContext context) => Refuse(_addresses.Wait(Address(context)), "Rate limit exceeded. Please try again later.");

    /// <summary>
    /// Whoever proved who it is does not count against its address: any number of nodes may stand behind one, and only what nobody answers for is limited.
    /// </summary>
    public void Proven(HttpContext context)
    {
        const int requests = 2; // what led to the proof, and the proof
        _addresses.GiveBack(Address(context), requests);
    }

    public Refusal? CheckAgent(HttpContext context, AgentId agent) =>
        Refuse(_agents.Wait($"{agent} {Address(context)}"), "Rate limit exceeded for this agent. Please try again later.");

    /// <summary>A wrong proof costs a signature check, so there are few.</summary>
    public Refusal? CheckProof(HttpContext context, AgentId agent) =>
        Refuse(_proofs.Wait($"{agent} {Address(context)}"), "Rate limit exceeded for this agent. Please try again later.");

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

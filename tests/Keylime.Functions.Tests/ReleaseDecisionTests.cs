using Keylime.Attestation;
using Keylime.Functions.Payloads;
using Keylime.Functions.Storage;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Tests;

/// <summary>The decision on a request for a payload, from rows that a real attestation made, each with one thing that is not as it must be.</summary>
public sealed class ReleaseDecisionTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static readonly Payload Good = new()
    {
        Name = "p",
        Version = 1,
        Size = 1,
        Parts = [],
        KeyVersion = "v",
        WrappedKey = new byte[384],
        For = new PayloadAudience { Group = "g" },
        Terms = new PayloadTerms { Require = ["boot", "runtime"] },
        Split = false,
        CreatedAt = DateTimeOffset.UnixEpoch,
        CreatedBy = "token operator",
    };

    private static readonly Dictionary<string, Func<Rows, Rows>> Wrong = new()
    {
        ["revoked"] = static r => r with { Payload = r.Payload with { RevokedAt = r.Now } },
        ["expired"] = static r => r with { Payload = r.Payload with { Terms = r.Payload.Terms with { ExpiresAt = r.Now } } },
        ["node_retired"] = static r => r with { Node = r.Node with { RetiredAt = r.Now } },
        ["node_not_admitted"] = static r => r with { Node = r.Node with { Waiting = "waits" } },
        ["node_failed"] = static r => r with { Node = r.Node with { Unhealed = new Unhealed(0, r.Now, "it failed", 1) } },
        ["no_verdict"] = static r => r with { Verdict = null },
        ["verdict_of_the_future"] = static r => r with { Now = r.Now.AddDays(-1) },
        ["verdict_too_old"] = static r => r with { Now = r.Now.AddDays(1) },
        ["other_key"] = static r => r with { Node = r.Node with { AttestationKeyName = new byte[34] } },
        ["no_clock"] = static r => r with { Verdict = r.Verdict! with { Clock = null } },
        ["other_boot"] = static r => r with { Node = r.Node with { Clock = r.Node.Clock! with { ResetCount = 99 } } },
        ["identity_not_covered"] = static r => r with { Payload = r.Payload with { Terms = r.Payload.Terms with { Require = ["identity"] } } },
        ["boot_not_covered"] = static r => r with { Verdict = Covering(r.Verdict!, c => c with { Boot = "pcr-values" }) },
        ["runtime_not_covered"] = static r => r with { Verdict = Covering(r.Verdict!, c => c with { Runtime = "none" }) },
        ["unknown_requirement"] = static r => r with { Payload = r.Payload with { Terms = r.Payload.Terms with { Require = ["of a newer version"] } } },
        ["not_registered"] = static r => r with { Registration = null },
        ["other_tpm"] = static r => r with { Registration = r.Registration! with { EndorsementKeyHash = new byte[32] } },
        ["pcr_not_proven"] = static r => r with { Payload = r.Payload with { Terms = r.Payload.Terms with { Pcrs = [0, 23] } } },
        ["key_unusable"] = static r => r with { Registration = r.Registration! with { EndorsementKey = r.Registration.AttestationKey } },
    };

    [Fact]
    public async Task One_thing_that_is_not_as_it_must_be_withholds()
    {
        await using var service = await TestService.StartAsync();
        using var agent = await BootTests.BootedAsync(service);
        await agent.AttestAsync();
        var id = AgentId.Parse(agent.Id);
        var node = (await service.Get<INodeStore>().FindAsync(id, Cancel))!.Value;
        var good = new Rows(
            Good, node, await service.Get<IVerdictStore>().FindAsync(id, node.Last!.Attestation, Cancel),
            (await service.Get<IRecordStore<Registration>>().FindAsync(agent.Id, Cancel))!.Value, service.Clock.GetUtcNow());
        var granted = Assert.IsType<ReleaseDecision.Granted>(Decide(good));
        Assert.Equal(node.Clock!.ResetCount, granted.Policy.ResetCount);
        foreach (var (code, alter) in Wrong)
            Assert.Equal(code, Assert.IsType<ReleaseDecision.Withheld>(Decide(alter(good))).Code);
        TestContext.Current.SendDiagnosticMessage($"release refusals: {Wrong.Count} reasons in rows, each withheld");
    }

    [Theory]
    [InlineData(null, null, null, false)]
    [InlineData("n", null, null, true)]
    [InlineData("m", null, null, false)]
    [InlineData(null, "g", null, true)]
    [InlineData(null, "h", null, false)]
    [InlineData(null, null, "boot", true)]
    [InlineData(null, null, "runtime", true)]
    [InlineData(null, null, "other", false)]
    [InlineData("n", "g", "boot", true)]
    [InlineData("n", "h", "boot", false)]
    public void An_audience_is_all_of_what_is_given_and_nothing_is_nobody(string? id, string? group, string? policy, bool has)
    {
        var node = new Node
        {
            Id = AgentId.Parse("n"),
            EnrolledAt = default,
            AttestationKey = default,
            AttestationKeyName = default,
            EndorsementKeyHash = default,
            Identity = IdentityLevel.EndorsementKey,
            Pcrs = new Dictionary<string, IReadOnlyList<string>>(),
            IntervalSeconds = 1,
            NextAttestation = 0,
            Attestations = 0,
            Group = "g",
            RuntimePolicy = "runtime",
            BootPolicy = "boot",
        };
        Assert.Equal(has, Audience.Has(new PayloadAudience { Nodes = id is null ? null : [AgentId.Parse(id)], Group = group, Policy = policy }, node));
    }

    private static ReleaseDecision Decide(Rows rows) => ReleaseDecision.Of(rows.Payload, rows.Node, rows.Verdict, rows.Registration, rows.Now);

    private static VerdictRecord Covering(VerdictRecord verdict, Func<Protocol.Api.Coverage, Protocol.Api.Coverage> alter) =>
        verdict with { Message = verdict.Message with { Coverage = alter(verdict.Message.Coverage) } };

    private sealed record Rows(Payload Payload, Node Node, VerdictRecord? Verdict, Registration? Registration, DateTimeOffset Now);
}

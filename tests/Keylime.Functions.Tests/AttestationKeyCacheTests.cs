using Keylime.Functions.Storage;
using Keylime.Functions.Verifier;
using Keylime.Protocol;
using Keylime.Testing;

namespace Keylime.Functions.Tests;

public sealed class AttestationKeyCacheTests
{
    [Fact]
    public void A_key_is_parsed_once_and_lent_to_one_at_a_time()
    {
        using var tpm = new SoftwareTpm();
        using var cache = new AttestationKeyCache();
        var node = Of(tpm, tpm);
        var first = Lend(cache, node);
        var second = Lend(cache, node);
        Assert.NotSame(first.Key, second.Key);
        first.Dispose();
        second.Dispose(); // one is enough
        using var again = Lend(cache, node);
        Assert.Same(first.Key, again.Key);
        Assert.Equal(tpm.AttestationKey.ComputeName(), again.Key.Name.ToArray());
    }

    [Fact]
    public void A_key_under_another_keys_name_is_not_remembered()
    {
        using var tpm = new SoftwareTpm();
        using var other = new SoftwareTpm();
        using var cache = new AttestationKeyCache();
        var lent = Lend(cache, Of(tpm, other)); // the row of one, with the name of the other
        lent.Dispose();
        using var real = Lend(cache, Of(other, other));
        Assert.Equal(other.AttestationKey.ComputeName(), real.Key.Name.ToArray());
    }

    [Fact]
    public void What_is_not_used_is_forgotten_and_what_is_used_stays()
    {
        const int capacity = 3;
        using var cache = new AttestationKeyCache(capacity);
        SoftwareTpm[] tpms = [.. Enumerable.Range(0, 2 * capacity + 2).Select(static _ => new SoftwareTpm())];
        var used = Key(tpms[0]);
        var unused = Key(tpms[1]);
        foreach (var tpm in tpms[2..])
        {
            Key(tpm);
            Assert.Same(used, Key(tpms[0]));
        }

        Assert.NotSame(unused, Key(tpms[1]));
        foreach (var tpm in tpms)
            tpm.Dispose();

        Attestation.AttestationKey Key(SoftwareTpm tpm)
        {
            using var lent = Lend(cache, Of(tpm, tpm));
            return lent.Key;
        }
    }

    private static AttestationKeyCache.Lent Lend(AttestationKeyCache cache, Node node)
    {
        Assert.True(cache.TryLend(node, out var lent, out var refusal), refusal?.Detail);
        return lent;
    }

    private static Node Of(SoftwareTpm key, SoftwareTpm name) => new()
    {
        Id = AgentId.Parse("node"),
        EnrolledAt = DateTimeOffset.UnixEpoch,
        AttestationKey = key.AttestationKey.Encode(),
        AttestationKeyName = name.AttestationKey.ComputeName(),
        EndorsementKeyHash = new byte[32],
        Identity = Attestation.IdentityLevel.EndorsementKey,
        Pcrs = new Dictionary<string, IReadOnlyList<string>>(),
        IntervalSeconds = 60,
        NextAttestation = 0,
        Attestations = 0,
    };
}

using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Payloads;

/// <summary>The payloads that there are, as this process knew them a few seconds ago: an attestation's answer tells of them, and asks no store for it.</summary>
internal sealed class PayloadCatalog(IRecordStore<Payload> store, TimeProvider clock)
{
    private readonly Recent<IReadOnlyList<Payload>> _all = new(clock, store.AllAsync);

    public ValueTask<IReadOnlyList<Payload>> AllAsync(CancellationToken cancel) => _all.GetAsync(cancel);

    /// <summary>Those that a node may ask for now, in the order of their names. One that is not trusted is offered nothing.</summary>
    public IEnumerable<Payload> For(Node node, IReadOnlyList<Payload> all)
    {
        var now = clock.GetUtcNow();
        return node is { IsPassed: true, Waiting: null } ? all.Where(p => p.IsLive(now) && Audience.Has(p.For, node)) : [];
    }

    /// <summary>What changes with what a node may ask for; <see langword="null"/> where that is nothing.</summary>
    public string? DigestFor(Node node, IReadOnlyList<Payload> all)
    {
        var names = string.Join('\n', For(node, all).Select(static p => string.Create(CultureInfo.InvariantCulture, $"{p.Name} {p.Version}")));
        return names.Length == 0 ? null : Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(names)).AsSpan(0, 16));
    }

    /// <summary>One has changed here: the next to ask sees it.</summary>
    public void Forget() => _all.Forget();
}

using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using Keylime.Functions.Access;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Api;

namespace Keylime.Functions.Keys;

/// <summary>
/// Tokens of people and programs: <c>name.secret</c>, of which the store has the hash. The first ones, one a role, are made at the first start and kept in
/// files that nobody else may read.
/// </summary>
internal sealed class AccessTokens(IRecordStore<AccessToken> store, ServiceOptions options, TimeProvider clock)
{
    private const int SecretSize = 32;
    private const int MinSecret = 32;
    private const int MaxTries = 3;

    /// <summary>What the token opens, if it is one, and has not expired.</summary>
    public async Task<Grant?> FindAsync(string token, CancellationToken cancel)
    {
        if (!TrySplit(token, out var name, out _) || await store.FindAsync(name, cancel) is not { Value: var known })
            return null;
        return CryptographicOperations.FixedTimeEquals(Hash(token), known.Hash.Span) && (known.ExpiresAt is not { } end || end > clock.GetUtcNow())
            ? new Grant($"token {name}", [new GrantedRole(CallerOf(known.Role), known.Group)]) { Token = name }
            : null;
    }

    /// <returns>The token, which nobody is told again; <see langword="null"/> if the name is taken.</returns>
    /// <param name="group">Of nodes, where the role is for one group alone.</param>
    public async Task<string?> TryCreateAsync(string name, AccessRole role, string? group, DateTimeOffset? expiresAt, CancellationToken cancel)
    {
        var token = $"{name}.{Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(SecretSize))}";
        return await store.TryAddAsync(Record(name, role, token, expiresAt) with { Group = group }, cancel) ? token : null;
    }

    /// <summary>Makes a token dead at once, and for ever.</summary>
    /// <returns><see langword="false"/> if it changes at this moment.</returns>
    public Task<bool> TryRevokeAsync(Stored<AccessToken> stored, CancellationToken cancel) => IsFirst(stored.Value.Name)
        ? store.TryReplaceAsync(stored, stored.Value with { ExpiresAt = clock.GetUtcNow() }, cancel) // its file would bring it back with the next start
        : store.TryDeleteAsync(stored, cancel);

    /// <summary>
    /// At the start: the first token of each role, unless there is one. A file that was deleted is made anew, with another token. Where the operator has prepared a token, that one is kept, and none is made.
    /// </summary>
    /// <exception cref="InvalidDataException">A file holds no token of its role.</exception>
    public async Task PrepareAsync(CancellationToken cancel)
    {
        if (options.OperatorToken is { Name: var prepared, Hash: var hash })
        {
            await KeepAsync(new AccessToken { Name = prepared, Role = AccessRole.Operator, Hash = hash, CreatedAt = clock.GetUtcNow() }, cancel);
            return;
        }

        foreach (var role in Enum.GetValues<AccessRole>())
        {
            var name = NameOf(role);
            var path = Path.Combine(options.Data, name + ".token");
            if (!File.Exists(path))
            {
                // Where several instances share a store, one of them has made it, and has the file.
                if (options.UsesAzure && await store.FindAsync(name, cancel) is not null)
                    continue;
                var made = $"{name}.{Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(SecretSize))}";
                await PrivateFiles.WriteAsync(path, Encoding.ASCII.GetBytes(made + "\n"), cancel);
            }

            var token = (await File.ReadAllTextAsync(path, cancel)).Trim();
            if (!TrySplit(token, out var named, out var secret) || named != name || secret.Length < MinSecret)
                throw new InvalidDataException($"'{path}' holds no token of the role {name}: delete it, and one is made.");
            await KeepAsync(Record(name, role, token, null), cancel);
        }
    }

    private async Task KeepAsync(AccessToken record, CancellationToken cancel)
    {
        for (var tries = 0; tries < MaxTries; tries++)
        {
            var stored = await store.FindAsync(record.Name, cancel);
            if (stored is not null && stored.Value.Hash.Span.SequenceEqual(record.Hash.Span))
                return;
            if (stored is null ? await store.TryAddAsync(record, cancel) : await store.TryReplaceAsync(stored, record, cancel))
                return;
        }

        throw new StorageUnavailableException($"The token '{record.Name}' changes at this moment.");
    }

    private AccessToken Record(string name, AccessRole role, string token, DateTimeOffset? expiresAt) =>
        new() { Name = name, Role = role, Hash = Hash(token), CreatedAt = clock.GetUtcNow(), ExpiresAt = expiresAt };

    // A token without a name is one that an earlier version made for the operator.
    private static bool TrySplit(string token, out string name, out string secret)
    {
        var dot = token.LastIndexOf('.');
        (name, secret) = dot < 0 ? (NameOf(AccessRole.Operator), token) : (token[..dot], token[(dot + 1)..]);
        return Protocol.AgentId.TryParse(name, null, out _);
    }

    /// <summary>True for the names of the first tokens, which are kept in files.</summary>
    public static bool IsFirst(string name) => Enum.GetValues<AccessRole>().Any(role => NameOf(role) == name);

    public static string NameOf(AccessRole role) => role.ToString().ToLowerInvariant();

    private static Caller CallerOf(AccessRole role) => role switch
    {
        AccessRole.Operator => Caller.Operator,
        AccessRole.Approver => Caller.Approver,
        AccessRole.Auditor => Caller.Auditor,
        _ => Caller.None,
    };

    private static byte[] Hash(string token) => SHA256.HashData(Encoding.UTF8.GetBytes(token));
}

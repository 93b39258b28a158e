using System.Diagnostics.CodeAnalysis;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>A runtime policy as a text to edit: every member is kept, also those that nobody here knows. Not for judging with.</summary>
public sealed partial class RuntimePolicyDocument
{
    private readonly List<(string Where, bool IsName)> _duplicates = [];

    /// <summary><c>meta.version</c>.</summary>
    public int Version { get; set; } = 1;

    /// <summary><c>meta.generator</c>: 3 is upstream's word for a policy that was made from lists.</summary>
    public int Generator { get; set; } = 3;

    /// <summary><c>meta.timestamp</c>, as it stands.</summary>
    public string? Timestamp { get; set; }

    public int Release { get; set; }

    /// <summary>Path to digests in lower-case hex.</summary>
    public SortedDictionary<string, SortedSet<string>> Digests { get; } = new(StringComparer.Ordinal);

    /// <summary>Patterns, in their order.</summary>
    public IList<string> Excludes { get; } = [];

    /// <summary>Keyring to digests of keys that may be loaded to it.</summary>
    public SortedDictionary<string, SortedSet<string>> Keyrings { get; } = new(StringComparer.Ordinal);

    /// <summary>Name of a measured buffer to its digests.</summary>
    public SortedDictionary<string, SortedSet<string>> Buffers { get; } = new(StringComparer.Ordinal);

    /// <summary><c>ima.ignored_keyrings</c>.</summary>
    public SortedSet<string> IgnoredKeyrings { get; } = new(StringComparer.Ordinal);

    /// <summary><c>ima.log_hash_alg</c>.</summary>
    public string LogHash { get; set; } = "sha1";

    /// <summary><c>ima.dm_policy</c>; <see langword="null"/> without one.</summary>
    public JsonElement? DeviceMapper { get; set; }

    /// <summary><c>verification-keys</c>: a keyring's JSON as a string, or empty.</summary>
    public string VerificationKeys { get; set; } = "";

    /// <summary><c>violations</c>; <see langword="null"/> if the policy does not mention them.</summary>
    public ViolationRules? Violations { get; set; }

    /// <summary><c>class-rules</c>: name to mode and reason.</summary>
    public SortedDictionary<string, ClassRuleText> ClassRules { get; } = new(StringComparer.Ordinal);

    /// <summary>Other members, by their JSON path: <c>$.x</c>, <c>$.meta.x</c>, <c>$.ima.x</c>.</summary>
    public SortedDictionary<string, JsonElement> Unknown { get; } = new(StringComparer.Ordinal);

    /// <summary>Reads what has the shape of a policy, also one that the service would refuse: <see cref="Lint"/> tells why.</summary>
    /// <param name="error">What, where (as a JSON path), and what was expected.</param>
    public static bool TryParse(
        ReadOnlyMemory<byte> utf8Json, [NotNullWhen(true)] out RuntimePolicyDocument? document, [NotNullWhen(false)] out string? error)
    {
        try
        {
            JsonText.Demand(utf8Json.Span);
            using var json = JsonDocument.Parse(utf8Json);
            document = new RuntimePolicyDocument();
            document.Read(json.RootElement);
            error = null;
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException is what the JSON reader throws for half a surrogate pair
            (document, error) = (null, e.Message);
            return false;
        }
    }

    /// <summary>Adds a digest to a path, in lower-case hex.</summary>
    /// <returns>False if it was there.</returns>
    public bool Allow(string path, string digest) => Add(Digests, path, digest);

    /// <summary>Adds a key's digest to a keyring.</summary>
    /// <returns>False if it was there.</returns>
    public bool AllowKey(string keyring, string digest) => Add(Keyrings, keyring, digest);

    /// <summary>Adds a digest to a measured buffer's name.</summary>
    /// <returns>False if it was there.</returns>
    public bool AllowBuffer(string name, string digest) => Add(Buffers, name, digest);

    internal static bool Add(SortedDictionary<string, SortedSet<string>> lists, string name, string digest)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentException.ThrowIfNullOrEmpty(digest);
        if (!lists.TryGetValue(name, out var digests))
            lists.Add(name, digests = new SortedSet<string>(StringComparer.Ordinal));
        return digests.Add(digest);
    }
}

/// <summary>What to do about files that were open for writing while they were measured.</summary>
/// <param name="Budget">How many of them one boot may have.</param>
/// <param name="Paths">Patterns of paths that may have any number of them.</param>
public sealed record ViolationRules(long Budget, IReadOnlyList<string> Paths);

/// <summary>A class rule as a policy's text has it.</summary>
public sealed record ClassRuleText(string Mode, string? Reason);

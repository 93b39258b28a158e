using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Which files may have run: Keylime's runtime policy, ready to judge with.</summary>
/// <remarks>Immutable once made, so any number of threads may judge with one.</remarks>
public sealed partial class RuntimePolicy
{
    private readonly DigestTable _digests;
    private readonly ExcludeList _excludes;

    private RuntimePolicy(DigestTable digests, ExcludeList excludes, TpmAlgorithm logHash, ImmutableArray<string> warnings)
    {
        (_digests, _excludes) = (digests, excludes);
        (LogHash, Warnings) = (logHash, warnings);
    }

    /// <summary>Paths with digests.</summary>
    public int Paths => _digests.Count;

    public int Excludes => _excludes.Count;

    /// <summary>The hash of the measurement list's template-hash field.</summary>
    public TpmAlgorithm LogHash { get; }

    /// <summary>What the policy asks for and this version does not do, or does and is unwise.</summary>
    public ImmutableArray<string> Warnings { get; }

    /// <summary>Reads a policy in Keylime's JSON.</summary>
    /// <param name="error">What, where (as a JSON path), and what was expected.</param>
    public static bool TryParse(
        ReadOnlyMemory<byte> utf8Json, [NotNullWhen(true)] out RuntimePolicy? policy, [NotNullWhen(false)] out string? error)
    {
        try
        {
            (policy, error) = (new RuntimePolicyReader(utf8Json.Span).Read(), null);
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or DecoderFallbackException)
        {
            // InvalidOperationException is what the JSON reader throws for text that is no valid UTF-8
            (policy, error) = (null, e.Message);
            return false;
        }
    }

    /// <returns>Where the path's digests are, or -1.</returns>
    internal int Find(ReadOnlySpan<byte> path) => _digests.Find(path);

    internal bool Allows(int found, ReadOnlySpan<byte> algorithm, ReadOnlySpan<byte> digest) =>
        DigestSize(algorithm) == digest.Length && _digests.Contains(found, digest);

    internal ImmutableArray<string> AllowedAt(int found) =>
        [.. _digests.DigestsAt(found).Select(static d => $"{AlgorithmOf(d.Length)}:{Convert.ToHexStringLower(d)}")];

    internal bool IsExcluded(ReadOnlySpan<byte> path) => _excludes.Matches(path);

    internal static RuntimePolicy Create(DigestTable digests, ExcludeList excludes, TpmAlgorithm logHash, ImmutableArray<string> warnings) =>
        new(digests, excludes, logHash, warnings);

    // A policy's digests carry no algorithm: their length says it, and the line's own algorithm has to agree.
    private static int DigestSize(ReadOnlySpan<byte> algorithm) =>
        algorithm.SequenceEqual("sha256"u8) ? 32
        : algorithm.SequenceEqual("sha1"u8) ? 20
        : algorithm.SequenceEqual("sha512"u8) ? 64
        : algorithm.SequenceEqual("sha384"u8) ? 48
        : -1;

    private static string AlgorithmOf(int length) => length switch
    {
        20 => "sha1",
        48 => "sha384",
        64 => "sha512",
        _ => "sha256",
    };
}

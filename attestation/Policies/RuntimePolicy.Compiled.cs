using System.Diagnostics.CodeAnalysis;

namespace Keylime.Attestation;

/// <summary>The compiled form: what is judged with, as bytes that can be kept in a file and judged with where they lie.</summary>
public sealed partial class RuntimePolicy
{
    /// <summary>The version of the form. One of another version is made anew of the text.</summary>
    public const int CompiledVersion = CompiledPolicy.Version;

    /// <summary>Of a policy that came in an envelope: what its signatures are verified with.</summary>
    public DsseSeal? Seal { get; private init; }

    /// <summary>The same bytes for the same text.</summary>
    /// <param name="textDigest">SHA-256 of the text that it was read from; of its envelope, where it has one.</param>
    /// <param name="seal">Of that envelope.</param>
    /// <exception cref="InvalidOperationException">It has layers: each of them is compiled, and they are put together anew.</exception>
    public byte[] Compile(ReadOnlySpan<byte> textDigest, DsseSeal? seal)
    {
        return IsLayered
            ? throw new InvalidOperationException("A policy of layers is compiled layer by layer.")
            : CompiledPolicy.Write(_layers[0].Rules, Warnings, seal, textDigest);
    }

    /// <summary>
    /// Takes what <see cref="Compile"/> made. The bytes are not copied, and are read while it is judged with: they do not change, and stay as long as the memory is held by somebody.
    /// </summary>
    /// <remarks>
    /// The bytes are believed: the caller has authenticated them. Whatever bytes there are, they are no policy, or one with which judging ends; a record that cannot be read
    /// is met as a <see cref="CompiledPolicyException"/> when it is looked up.
    /// </remarks>
    /// <param name="textDigest">Of the text that it has to be made from.</param>
    /// <param name="error">What was expected.</param>
    public static bool TryOpen(
        ReadOnlyMemory<byte> compiled, ReadOnlySpan<byte> textDigest, [NotNullWhen(true)] out RuntimePolicy? policy, [NotNullWhen(false)] out string? error)
    {
        try
        {
            var (rules, warnings, seal) = CompiledPolicy.Read(compiled, textDigest);
            (policy, error) = (new RuntimePolicy([new RuntimeLayer("", rules, null)], warnings) { Seal = seal }, null);
            return true;
        }
        catch (CompiledPolicyException e)
        {
            (policy, error) = (null, e.Message);
            return false;
        }
    }
}

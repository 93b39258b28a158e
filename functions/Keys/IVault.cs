namespace Keylime.Functions.Keys;

/// <summary>
/// Where the keys are that wrap keys of payloads and sign what the service says: asymmetric ones, in versions, whose private halves never leave their place. Whoever knows the public half
/// wraps without asking.
/// </summary>
internal interface IVault
{
    /// <summary>The newest version of the key that wraps: RSA, 2048 bits at least.</summary>
    /// <exception cref="VaultUnavailableException">The vault does not answer, or has no such key.</exception>
    Task<VaultKey> WrappingKeyAsync(CancellationToken cancel);

    /// <summary>Unwraps by RSA-OAEP with SHA-256.</summary>
    /// <param name="version">That the key was wrapped for; any that the vault still has.</param>
    /// <exception cref="VaultUnavailableException">The vault does not answer.</exception>
    Task<Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel);

    /// <summary>Makes another version of the key that wraps; what the former ones wrapped still opens.</summary>
    /// <exception cref="VaultUnavailableException">The vault does not answer.</exception>
    Task<VaultKey> RotateWrappingKeyAsync(CancellationToken cancel);

    /// <summary>The newest version of the key that signs: P-256.</summary>
    /// <exception cref="VaultUnavailableException">The vault does not answer, or has no such key.</exception>
    Task<VaultKey> SigningKeyAsync(CancellationToken cancel);

    /// <summary>Signs the SHA-256 of the data by ECDSA over P-256 (ES256, RFC 7518 3.4).</summary>
    /// <exception cref="VaultUnavailableException">The vault does not answer, or has no such key.</exception>
    Task<VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel);
}

/// <param name="Version">As the vault names it; 1 to 64 of <c>a-z 0-9</c>.</param>
/// <param name="PublicKey">SubjectPublicKeyInfo, DER.</param>
internal sealed record VaultKey(string Version, ReadOnlyMemory<byte> PublicKey)
{
    /// <summary>Whether a text can be the version of a key: it becomes part of paths.</summary>
    public static bool IsVersion(string text) => text is { Length: > 0 and <= 64 } && text.All(char.IsAsciiLetterOrDigit);
}

/// <param name="Version">Of the key that signed.</param>
/// <param name="Signature">r and s, 32 bytes each.</param>
internal sealed record VaultSignature(string Version, ReadOnlyMemory<byte> Signature);

/// <summary>What became of a wrapped key.</summary>
internal abstract record Unwrapped
{
    private Unwrapped()
    {
    }

    /// <param name="Value">The plain key: to be wiped by whoever has it.</param>
    public sealed record Key(byte[] Value) : Unwrapped;

    /// <summary>The version is not there, is disabled, or was deleted.</summary>
    public sealed record NoSuchVersion(string Detail) : Unwrapped;

    /// <summary>It was not wrapped for that version, or was altered.</summary>
    public sealed record NotWrapped(string Detail) : Unwrapped;
}

/// <summary>The vault cannot be reached or cannot do what it must: a request that meets it is answered 503, and nothing is released.</summary>
/// <param name="retryAfter">When it may be asked again, if it said so.</param>
internal sealed class VaultUnavailableException(string message, TimeSpan? retryAfter = null, Exception? inner = null) : Exception(message, inner)
{
    public TimeSpan? RetryAfter { get; } = retryAfter;
}

namespace Keylime.Functions.Keys;

internal interface IVault
{
    Task<VaultKey> WrappingKeyAsync(CancellationToken cancel);

    Task<Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel);

    Task<VaultKey> RotateWrappingKeyAsync(CancellationToken cancel);

    Task<VaultKey> SigningKeyAsync(CancellationToken cancel);

    Task<VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel);
}

internal sealed record VaultKey(string Version, ReadOnlyMemory<byte> PublicKey);

internal sealed record VaultSignature(string Version, ReadOnlyMemory<byte> Signature);

internal abstract record Unwrapped
{
    private Unwrapped()
    {
    }

    public sealed record Key(byte[] Value) : Unwrapped;

    public sealed record NoSuchVersion(string Detail) : Unwrapped;

    public sealed record NotWrapped(string Detail) : Unwrapped;
}

internal sealed class VaultUnavailableException(string message, TimeSpan? retryAfter, Exception? inner = null) : Exception(message, inner)
{
    public TimeSpan? RetryAfter { get; } = retryAfter;
}

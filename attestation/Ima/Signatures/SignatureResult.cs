namespace Keylime.Attestation;

/// <summary>What came of verifying a file's signature.</summary>
public abstract record SignatureResult
{
    private SignatureResult()
    {
    }

    /// <param name="Keyring">The keyring that has the key.</param>
    public sealed record Verified(ImaKey Key, string Keyring) : SignatureResult;

    /// <summary>No keyring has a key of this id.</summary>
    public sealed record UnknownKey(ulong Id) : SignatureResult;

    /// <summary>A key of this id is there, and did not sign this digest.</summary>
    public sealed record Invalid(string Why) : SignatureResult;

    /// <summary>A signature that nobody here can verify, whatever the keys: its kind or hash does not fit the entry, or is not supported.</summary>
    public sealed record Unsupported(string Why) : SignatureResult;
}

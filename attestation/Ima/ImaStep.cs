namespace Keylime.Attestation;

/// <summary>What came of reading on in a list.</summary>
internal enum ImaStep
{
    End,

    Entry,

    /// <summary>An entry that cannot be read; the next one can be tried.</summary>
    Malformed,

    /// <summary>Nobody can tell where the next entry starts.</summary>
    Lost,
}

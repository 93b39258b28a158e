namespace Keylime.Attestation;

/// <summary>The two forms in which the kernel shows its measurement list (kernel: security/integrity/ima/ima_fs.c).</summary>
public enum ImaListFormat
{
    /// <summary><c>ascii_runtime_measurements</c>.</summary>
    Text,

    /// <summary><c>binary_runtime_measurements</c>, little-endian: of a little-endian machine, or with <c>ima_canonical_fmt</c>.</summary>
    Binary,
}

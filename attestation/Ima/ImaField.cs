namespace Keylime.Attestation;

/// <summary>A field of template data (kernel: security/integrity/ima/ima_template.c, supported_fields).</summary>
internal enum ImaField : byte
{
    /// <summary><c>d</c>: a digest of SHA-1 or MD5, without a name.</summary>
    Digest,

    /// <summary><c>n</c>: a name of 255 bytes at most.</summary>
    Name,

    /// <summary><c>d-ng</c>: <c>sha256:</c>, a zero, the digest.</summary>
    DigestNg,

    /// <summary><c>d-ngv2</c>: the same with <c>ima:</c> or <c>verity:</c> in front.</summary>
    DigestNgV2,

    /// <summary><c>n-ng</c>: a name and a zero.</summary>
    NameNg,

    /// <summary><c>sig</c>: the extended attribute <c>security.ima</c>, or a portable <c>security.evm</c>.</summary>
    Signature,

    /// <summary><c>buf</c>.</summary>
    Buffer,

    /// <summary><c>d-modsig</c>: as <c>d-ng</c>, of the file without the signature that is appended to it; nothing where there is none.</summary>
    ModsigDigest,

    /// <summary><c>modsig</c>: the appended signature.</summary>
    Modsig,

    /// <summary><c>evmsig</c>.</summary>
    EvmSignature,

    /// <summary><c>iuid</c>: four bytes.</summary>
    UserId,

    /// <summary><c>igid</c>: four bytes.</summary>
    GroupId,

    /// <summary><c>imode</c>: two bytes.</summary>
    Mode,

    /// <summary><c>xattrnames</c>: names with <c>|</c> between, and a zero.</summary>
    AttributeNames,

    /// <summary><c>xattrlengths</c>.</summary>
    AttributeLengths,

    /// <summary><c>xattrvalues</c>.</summary>
    AttributeValues,
}

namespace Keylime.Attestation;

/// <summary>What an <c>ima</c> or <c>evm</c> attribute's first byte says that it is (kernel: security/integrity/integrity.h, evm_ima_xattr_type).</summary>
#pragma warning disable CA1008, CA1028 // the numbers and the width are the kernel's; none of them is zero
public enum ImaSignatureKind : byte
#pragma warning restore CA1008, CA1028
{
    /// <summary>EVM_IMA_XATTR_DIGSIG: over a file's digest.</summary>
    File = 0x03,

    /// <summary>EVM_XATTR_PORTABLE_DIGSIG: over a file's metadata. It says nothing of its content by itself.</summary>
    PortableMetadata = 0x05,

    /// <summary>IMA_VERITY_DIGSIG: over the digest of a file's fs-verity descriptor.</summary>
    Verity = 0x06,
}

namespace Keylime.Attestation;

/// <summary>GUIDs of variables' vendors and of signature types, in the text form of the UEFI specification.</summary>
public static class EfiGuids
{
    /// <summary>EFI_GLOBAL_VARIABLE: SecureBoot, PK, KEK, BootOrder, Boot####.</summary>
    public static readonly Guid GlobalVariable = new("8be4df61-93ca-11d2-aa0d-00e098032b8c");

    /// <summary>EFI_IMAGE_SECURITY_DATABASE_GUID: db, dbx, dbt, dbr.</summary>
    public static readonly Guid ImageSecurityDatabase = new("d719b2cb-3d3a-4596-a3bc-dad00e67656f");

    /// <summary>SHIM_LOCK_GUID: MokList, SbatLevel, Shim.</summary>
    public static readonly Guid ShimLock = new("605dab50-e046-4300-abb6-3dd810dd8b23");

    /// <summary>EFI_CERT_X509_GUID.</summary>
    public static readonly Guid X509 = new("a5c059a1-94e4-4aa7-87b5-ab155c2bf072");

    /// <summary>EFI_CERT_SHA256_GUID.</summary>
    public static readonly Guid Sha256 = new("c1c41626-504c-4092-aca9-41f936934328");

    /// <summary>EFI_CERT_SHA1_GUID.</summary>
    public static readonly Guid Sha1 = new("826ca512-cf10-4ac9-b187-be01496631bd");

    /// <summary>EFI_CERT_SHA384_GUID.</summary>
    public static readonly Guid Sha384 = new("ff3e5307-9fd0-48c9-85f1-8ad56c701e01");

    /// <summary>EFI_CERT_SHA512_GUID.</summary>
    public static readonly Guid Sha512 = new("093e0fae-a6c4-4f50-9f1b-d41e2b89c19a");

    /// <summary>EFI_CERT_RSA2048_GUID.</summary>
    public static readonly Guid Rsa2048 = new("3c5766e8-269c-4e34-aa14-ed776e85b3b6");

    /// <summary>EFI_CERT_X509_SHA256_GUID: the hash of a certificate's to-be-signed part, and a time of revocation.</summary>
    public static readonly Guid X509Sha256 = new("3bd2a492-96c0-4079-b420-fcf98ef103ed");

    /// <summary>EFI_CERT_X509_SHA384_GUID.</summary>
    public static readonly Guid X509Sha384 = new("7076876e-80c2-4ee6-aad2-28b349a6865b");

    /// <summary>EFI_CERT_X509_SHA512_GUID.</summary>
    public static readonly Guid X509Sha512 = new("446dbf63-2502-4cda-bcfa-2465d2b0fe9d");
}

using System.Collections.Immutable;

namespace Keylime.Attestation;

/// <summary>What the value of an EFI variable says, read as its name and its event's type want it read.</summary>
public abstract record EfiVariableContent
{
    private EfiVariableContent()
    {
    }

    /// <summary>A byte that is 0 or 1: SecureBoot, SetupMode, AuditMode, DeployedMode, MokListTrusted …</summary>
    public sealed record Flag(bool Enabled) : EfiVariableContent;

    /// <summary>PK, KEK, db, dbx, dbt, dbr, MokList …: signature lists, none where the variable is not there.</summary>
    public sealed record SignatureDatabase(ImmutableArray<EfiSignatureList> Lists) : EfiVariableContent
    {
        public IEnumerable<EfiSignature> Signatures => Lists.SelectMany(static list => list.Signatures);
    }

    /// <summary>EV_EFI_VARIABLE_AUTHORITY: the one entry of a database that let an image run.</summary>
    public sealed record Authority(EfiSignature Signature) : EfiVariableContent;

    /// <summary>BootOrder, DriverOrder, SysPrepOrder: numbers of load options, the first tried first.</summary>
    public sealed record BootOrder(ImmutableArray<ushort> Options) : EfiVariableContent;

    /// <summary>Boot####, Driver####, SysPrep####: EFI_LOAD_OPTION (UEFI 2.10, 3.1.3).</summary>
    public sealed record BootOption(uint Attributes, string Description, ImmutableArray<EfiDevicePath> Paths, ReadOnlyMemory<byte> OptionalData) : EfiVariableContent
    {
        /// <summary>LOAD_OPTION_ACTIVE.</summary>
        public bool IsActive => (Attributes & 1) != 0;

        /// <summary>FilePathListLength.</summary>
        public int PathListLength { get; init; }
    }

    /// <summary>SbatLevel, SbatLevelRT: shim's revocations, a CSV text.</summary>
    public sealed record Text(string Value) : EfiVariableContent;

    /// <summary>A variable of which no more is known than its bytes.</summary>
    public sealed record Opaque : EfiVariableContent;

    /// <summary>A variable that is known, wrongly formed.</summary>
    /// <param name="Reason">What, where and what was expected.</param>
    public sealed record Malformed(string Reason) : EfiVariableContent;
}

using System.Collections.Immutable;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <content>EV_NO_ACTION: told by a signature in front. Such events are not extended, and nothing of them is proven.</content>
public abstract partial record BootEventData
{
    /// <summary>TCG_EfiSpecIDEvent (PFP 1.06, 10.4.5.1), which a crypto-agile log starts with: the log's form and banks.</summary>
    public sealed record SpecId(
        uint PlatformClass, byte Major, byte Minor, byte Errata, byte UintnSize, ImmutableArray<(TpmAlgorithm Bank, int Size)> Banks, ReadOnlyMemory<byte> Vendor) : BootEventData;

    /// <summary>TCG_EfiStartupLocalityEvent (10.4.5.3): the locality that started the TPM, which is in the reset value of PCR 0.</summary>
    public sealed record StartupLocality(byte Locality) : BootEventData;

    /// <summary>TCG_Sp800_155_PlatformId_Event (10.4.5.2), in its three forms: whose reference measurements fit this platform.</summary>
    public sealed record Sp800155 : BootEventData
    {
        /// <summary>1, 2 or 3.</summary>
        public required int Form { get; init; }

        /// <summary>IANA private enterprise number.</summary>
        public required uint VendorId { get; init; }

        /// <summary>Of the reference manifest.</summary>
        public required Guid ReferenceManifest { get; init; }

        public string PlatformManufacturer { get; init; } = "";

        public string PlatformModel { get; init; } = "";

        public string PlatformVersion { get; init; } = "";

        public string FirmwareManufacturer { get; init; } = "";

        public uint FirmwareManufacturerId { get; init; }

        public string FirmwareVersion { get; init; } = "";

        /// <summary>Of the third form: where the manifest is (0 raw, 1 URI, 2 device path, 3 variable), and that place.</summary>
        public uint LocatorType { get; init; }

        public ReadOnlyMemory<byte> Locator { get; init; }
    }

    /// <summary>TCG_HCRTMComponentEvent (10.4.5.4).</summary>
    public sealed record HcrtmComponent(string Description, uint MeasurementType, ReadOnlyMemory<byte> Measurement) : BootEventData;

    /// <summary>An EV_NO_ACTION with another signature.</summary>
    public sealed record Remark(string Signature) : BootEventData;
}

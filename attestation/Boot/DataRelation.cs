using System.Text;
using Keylime.Tpm;
using static Keylime.Attestation.BootEventData;

namespace Keylime.Attestation;

/// <summary>Finds out which part of an event's data its digest is the hash of.</summary>
/// <remarks>
/// Tried is only what a document has for the event's type. The type itself is not measured; that does no harm here, because whatever the type
/// says, the digest is compared with the hash of the very bytes. For programs, firmware and tables the digest is of what they are and not of
/// what the log says of them, so nothing is tried.
/// </remarks>
internal static class DataRelation
{
    public static MeasuredPart Find(BootEvent source, TpmAlgorithm bank, ReadOnlySpan<byte> digest)
    {
        var data = source.Data.Span;
        if (HashesWholeData(source.UntrustedType) && Matches(bank, digest, data))
            return MeasuredPart.Whole;

        return source.UntrustedData switch
        {
            // EDK II measured only the value until the profile's revision 1.05 had EV_EFI_VARIABLE_BOOT2.
            EfiVariable variable when source.UntrustedType == BootEventTypes.VariableBoot && Matches(bank, digest, variable.Value.Span) => MeasuredPart.VariableValue,
            EfiVariable when source.UntrustedType == BootEventTypes.VariableAuthority && data.Length > 0 && Matches(bank, digest, data[..^1]) => MeasuredPart.AllButLastByte,
            Ipl ipl => FindText(ipl, bank, digest, data),
            BootEventData.Action when data is [.., 0] && Matches(bank, digest, data[..^1]) => MeasuredPart.Text,
            _ => MeasuredPart.None,
        };
    }

    private static MeasuredPart FindText(Ipl ipl, TpmAlgorithm bank, ReadOnlySpan<byte> digest, ReadOnlySpan<byte> data)
    {
        if (ipl.IsUtf16)
        {
            byte[] name = [.. Encoding.UTF8.GetBytes(ipl.Text), 0];
            if (ipl.Kind == IplKind.UkiSection && Matches(bank, digest, name))
                return MeasuredPart.AsciiText;
            return Matches(bank, digest, Encoding.Unicode.GetBytes(ipl.Text + '\0')) ? MeasuredPart.Text : MeasuredPart.None;
        }

        // GRUB measures what is behind its prefix, without the NUL; some distributions' GRUB with it.
        var text = data[ipl.PrefixLength..];
        return Matches(bank, digest, text) || text is [.., 0] && Matches(bank, digest, text[..^1]) ? MeasuredPart.Text : MeasuredPart.None;
    }

    // PFP 1.06, 10.4.1, the column of what the digest is.
    private static bool HashesWholeData(uint type) => type is
        BootEventTypes.Separator or BootEventTypes.Action or BootEventTypes.EfiAction or BootEventTypes.EventTag or BootEventTypes.CrtmVersion
        or BootEventTypes.PlatformConfigFlags or BootEventTypes.TableOfDevices or BootEventTypes.CompactHash or BootEventTypes.OmitBootDeviceEvents
        or BootEventTypes.Ipl or BootEventTypes.VariableDriverConfig or BootEventTypes.VariableBoot or BootEventTypes.VariableBoot2
        or BootEventTypes.VariableAuthority or BootEventTypes.Gpt or BootEventTypes.Gpt2 or BootEventTypes.SpdmFirmwareBlob
        or BootEventTypes.SpdmFirmwareConfig or BootEventTypes.SpdmDevicePolicy or BootEventTypes.SpdmDeviceAuthority;

    private static bool Matches(TpmAlgorithm bank, ReadOnlySpan<byte> digest, ReadOnlySpan<byte> data)
    {
        Span<byte> computed = stackalloc byte[TpmAlgorithms.MaxDigestSize];
        computed = computed[..bank.DigestSize()];
        FastHash.Compute(bank, data, computed);
        return computed.SequenceEqual(digest);
    }
}

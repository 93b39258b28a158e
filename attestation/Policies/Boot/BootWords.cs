using System.Text;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Words of findings about boot events.</summary>
internal static class BootWords
{
    private const int MaxText = 300;

    /// <summary>What of a log may be shown to a person: escaped, and not too long.</summary>
    public static string Printable(string text)
    {
        var printable = PrintablePath.From(Encoding.UTF8.GetBytes(text));
        return printable.Length <= MaxText ? printable : $"{printable[..MaxText]}…";
    }

    /// <summary>SHA-256, as people write it.</summary>
    public static string Name(TpmAlgorithm bank) => bank switch
    {
        TpmAlgorithm.Sha1 => "SHA-1",
        TpmAlgorithm.Sha256 => "SHA-256",
        TpmAlgorithm.Sha384 => "SHA-384",
        TpmAlgorithm.Sha512 => "SHA-512",
        _ => bank.ToString(),
    };

    /// <summary>its SHA-256 is 01ab…</summary>
    public static string ItsDigest(TpmAlgorithm bank, in BootFact e) => $"its {Name(bank)} is {Convert.ToHexStringLower(e.Digest.Span)}";

    /// <summary>What the log says that an event is. The log says what its writer likes.</summary>
    public static string Story(in BootFact e) => e.UntrustedData switch
    {
        BootEventData.EfiVariable variable => $"variable {Printable(variable.Name)}",
        BootEventData.ImageLoad image when image.Path.File.Length > 0 => $"program {Printable(image.Path.File)}",
        BootEventData.Ipl ipl => $"'{Printable(ipl.Text)}'",
        BootEventData.Action action => $"action '{Printable(action.Text)}'",
        BootEventData.Label label => $"'{Printable(label.Text)}'",
        BootEventData.CrtmVersion version => $"version '{Printable(version.Version)}'",
        BootEventData.FirmwareBlob { Description.Length: > 0 } blob => $"firmware '{Printable(blob.Description)}'",
        BootEventData.Tagged { Items: [{ Text.Length: > 0 } item, ..] } => $"'{Printable(item.Text)}'",
        BootEventData.Malformed malformed => $"data that cannot be read ({malformed.Reason.TrimEnd('.')})",
        _ => "no text",
    };
}

namespace Keylime.Attestation;

/// <summary>Reads what a proven variable holds, by its place in PCR 7 and not by the type that the log gives it.</summary>
internal static class BootDatabases
{
    /// <summary>The signature lists of a variable that was measured as configuration.</summary>
    /// <param name="reason">Why they cannot be read.</param>
    public static EfiVariableContent.SignatureDatabase? Read(BootEventData.EfiVariable variable, out string reason)
    {
        reason = "";
        if (variable.Content is EfiVariableContent.SignatureDatabase database)
            return database;

        try
        {
            return SignatureListReader.Read(variable.Value);
        }
        catch (BootFormatException e)
        {
            reason = e.Message.TrimEnd('.');
            return null;
        }
    }

    /// <summary>The one entry that let an image run: EFI_SIGNATURE_DATA, whose type is a certificate or a hash by its size.</summary>
    public static EfiSignature? ReadAuthority(BootEventData.EfiVariable variable)
    {
        const int ownerSize = 16;
        return variable.Value.Length > ownerSize
            ? new EfiSignature(new Guid(variable.Value.Span[..ownerSize]), variable.Value[ownerSize..])
            : null;
    }
}

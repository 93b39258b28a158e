using System.Text.Json;

namespace Keylime.Tpm.Tests;

/// <summary>Structures that Keylime's own agent and registrar exchanged over a real swtpm (recorded.json; the keys in it are gone).</summary>
internal static class Recorded
{
    private static readonly Dictionary<string, byte[]> Values = Load();

    public static byte[] EndorsementKey => Values["ek_tpm"];

    public static byte[] AttestationKey => Values["aik_tpm"];

    public static byte[] Credential => Values["blob"];

    public static byte[] Certification => Values["certify_message"];

    public static byte[] CertificationSignature => Values["certify_signature"];

    public static byte[] Quote => Values["quote_message"];

    public static byte[] QuoteSignature => Values["quote_signature"];

    public static byte[] Pcrs => Values["quote_subject_data"];

    private static Dictionary<string, byte[]> Load()
    {
        using var stream = typeof(Recorded).Assembly.GetManifestResourceStream("recorded.json")!;
        using var document = JsonDocument.Parse(stream);
        return document.RootElement.EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetBytesFromBase64());
    }
}

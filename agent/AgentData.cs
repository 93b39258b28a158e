using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary>The attestation key between two runs, in the file format of upstream's agents, so that a machine may change between them.</summary>
internal sealed record AgentData(string AkHashAlg, string AkSignAlg, int[] AkPublic, int[] AkPrivate, int[] EkHash)
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    public static AgentData Create(KeyScheme scheme, PublicArea area, ReadOnlySpan<byte> @private, string ekHash) => new(
        HashName(scheme.Hash), SchemeName(scheme.Algorithm), Numbers(area.Encode()), Numbers(@private), Numbers(Encoding.ASCII.GetBytes(ekHash)));

    /// <summary>True if it is of this scheme, and of the TPM with this endorsement key.</summary>
    public bool Fits(KeyScheme scheme, string ekHash) =>
        AkHashAlg == HashName(scheme.Hash) && AkSignAlg == SchemeName(scheme.Algorithm) && EkHash.AsSpan().SequenceEqual(Numbers(Encoding.ASCII.GetBytes(ekHash)));

    public bool TryRead(out PublicArea? area, out byte[] @private)
    {
        area = null;
        @private = [];
        if (AkPublic.Concat(AkPrivate).Any(static n => n is < 0 or > 255) || !PublicArea.TryParse(Bytes(AkPublic), out area))
            return false;
        @private = Bytes(AkPrivate);
        return true;
    }

    /// <summary>Closes the folder to others, where whoever made it left it open: Kubernetes makes 0755. Who does not own it can only tell.</summary>
    public static void CloseFolder(string path)
    {
        if ((File.GetUnixFileMode(path) & ~(OwnerOnly | UnixFileMode.UserExecute)) == 0)
            return;
        try
        {
            File.SetUnixFileMode(path, OwnerOnly | UnixFileMode.UserExecute);
            Log.Warning($"{path} was open to others; it is made 0700.");
        }
        catch (UnauthorizedAccessException)
        {
            Log.Warning($"{path} is open to others, and not this user's to close: mode 0700 is expected.");
        }
    }

    /// <returns><see langword="null"/> where there is no file, or none that can be read: the key is then made anew.</returns>
    public static AgentData? Load(string path)
    {
        if (!File.Exists(path))
            return null;

        if ((File.GetUnixFileMode(path) & ~OwnerOnly) != 0)
        {
            Log.Warning($"{path} could be read by others; it is made 0600.");
            File.SetUnixFileMode(path, OwnerOnly);
        }

        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), AgentDataJson.Default.AgentData);
        }
        catch (JsonException e)
        {
            Log.Warning($"{path} cannot be read ({e.Message}); another attestation key is made.");
            return null;
        }
    }

    /// <summary>Writes a file of its own, 0600 from the start, and puts it in the old one's place when it is on the disk.</summary>
    public static void SaveFile(string path, ReadOnlySpan<byte> content)
    {
        var next = path + ".new";
        File.Delete(next);
        using (var file = new FileStream(next, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = OwnerOnly,
        }))
        {
            file.Write(content);
            file.Flush(flushToDisk: true);
        }

        File.Move(next, path, overwrite: true);
    }

    public void Save(string path) => SaveFile(path, JsonSerializer.SerializeToUtf8Bytes(this, AgentDataJson.Default.AgentData));

    private static string HashName(TpmAlgorithm hash) => hash switch
    {
        TpmAlgorithm.Sha384 => "Sha384",
        TpmAlgorithm.Sha512 => "Sha512",
        _ => "Sha256",
    };

    private static string SchemeName(TpmAlgorithm scheme) => scheme switch
    {
        TpmAlgorithm.RsaPss => "RsaPss",
        TpmAlgorithm.Ecdsa => "EcDsa",
        _ => "RsaSsa",
    };

    private static int[] Numbers(ReadOnlySpan<byte> bytes)
    {
        var numbers = new int[bytes.Length];
        for (var i = 0; i < bytes.Length; i++)
            numbers[i] = bytes[i];
        return numbers;
    }

    private static byte[] Bytes(int[] numbers) => [.. numbers.Select(static n => (byte)n)];
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(AgentData))]
internal sealed partial class AgentDataJson : JsonSerializerContext;

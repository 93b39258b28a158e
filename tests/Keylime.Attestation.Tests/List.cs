using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Lines of a measurement list in both forms, and PCR 10 extended by them.</summary>
internal sealed class List(string logHash = "SHA1")
{
    private readonly List<byte[]> _lines = [];
    private readonly List<byte[]> _binary = [];
    private readonly List<byte[]?> _data = [];

    public IReadOnlyList<byte[]> Lines => _lines;

    public byte[] Text => [.. _lines.SelectMany(l => l)];

    public IReadOnlyList<byte[]> BinaryEntries => _binary;

    public byte[] Binary => [.. _binary.SelectMany(l => l)];

    /// <summary>What PCR 10 of a bank holds after the first lines.</summary>
    public byte[] Pcr(TpmAlgorithm bank, int lines)
    {
        var pcr = new byte[bank.DigestSize()];
        foreach (var data in _data.Take(lines))
        {
            var digest = data is null ? Enumerable.Repeat((byte)0xff, pcr.Length).ToArray() : CryptographicOperations.HashData(bank.HashName(), data);
            pcr = CryptographicOperations.HashData(bank.HashName(), (byte[])[.. pcr, .. digest]);
        }

        return pcr;
    }

    public static byte[] DigestOf(string path) => SHA256.HashData(Encoding.UTF8.GetBytes(path));

    public static string HexOf(string path) => Convert.ToHexStringLower(DigestOf(path));

    public List Add(string path) => Add(Encoding.UTF8.GetBytes(path), DigestOf(path));

    public List Add(byte[] path, byte[] digest, byte[]? signature = null)
    {
        (string, byte[])[] fields = [("d-ng", Encoding.ASCII.GetBytes($"sha256:{Convert.ToHexStringLower(digest)}")), ("n-ng", path)];
        return signature is null
            ? Add("ima-ng", fields)
            : Add("ima-sig", [.. fields, ("sig", Encoding.ASCII.GetBytes(Convert.ToHexStringLower(signature)))]);
    }

    /// <summary>A file with a signature.</summary>
    public List AddSigned(string path, byte[] signature) => Add(Encoding.UTF8.GetBytes(path), DigestOf(path), signature);

    /// <summary>A measured buffer, with its own digest or another.</summary>
    public List AddBuffer(string name, byte[] buffer, byte[]? digest = null) => Add(
        "ima-buf", ("d-ng", $"sha256:{Convert.ToHexStringLower(digest ?? SHA256.HashData(buffer))}"), ("n-ng", name), ("buf", Convert.ToHexStringLower(buffer)));

    public List Add(string template, params (string Name, string Text)[] fields) =>
        Add(template, [.. fields.Select(f => (f.Name, Encoding.UTF8.GetBytes(f.Text)))]);

    /// <summary>An entry of any template, its fields as the ASCII list shows them.</summary>
    public List Add(string template, params (string Name, byte[] Text)[] fields)
    {
        var data = template == "ima" ? LegacyData(fields) : [.. fields.SelectMany(f => Sized(FieldData(f.Name, f.Text)))];
        return Append(CryptographicOperations.HashData(new HashAlgorithmName(logHash), data), template, fields, data, data);
    }

    public List Violate(string path, string template = "ima-ng")
    {
        (string, byte[])[] fields = [("d-ng", Encoding.ASCII.GetBytes($"sha256:{new string('0', 64)}")), ("n-ng", Encoding.UTF8.GetBytes(path))];
        byte[] listed = [.. fields.SelectMany(f => Sized(FieldData(f.Item1, f.Item2)))];
        return Append(new byte[CryptographicOperations.HashData(new HashAlgorithmName(logHash), []).Length], template, fields, null, listed);
    }

    /// <summary>A quote of a TPM that has measured the first lines, over PCR 10 and perhaps others.</summary>
    public VerifiedQuote QuoteAfter(SoftwareTpm tpm, int lines, TpmAlgorithm bank = TpmAlgorithm.Sha256, params int[] others)
    {
        tpm.Set(bank, 10, Pcr(bank, lines));
        var asked = new PcrSelection(bank, PcrSet.Of([.. others, 10]));
        return Assert.IsType<QuoteResult.Verified>(Evidence.Verify(tpm, Evidence.Quote(tpm, asked), asked)).Quote;
    }

    private List Append(byte[] hash, string template, (string Name, byte[] Text)[] fields, byte[]? hashed, byte[] listed)
    {
        _lines.Add([.. Encoding.ASCII.GetBytes($"10 {Convert.ToHexStringLower(hash)} {template}"), .. fields.SelectMany(f => (byte[])[(byte)' ', .. f.Text]), (byte)'\n']);
        var name = Sized(Encoding.ASCII.GetBytes(template));
        // Template ima: the digest bare, the path without its zeros.
        byte[] body = template == "ima" ? [.. listed[..^256], .. Sized(fields[1].Text)] : Sized(listed);
        _binary.Add([10, 0, 0, 0, .. hash, .. name, .. body]);
        _data.Add(hashed);
        return this;
    }

    private static byte[] LegacyData((string Name, byte[] Text)[] fields)
    {
        var path = new byte[256];
        fields[1].Text.CopyTo(path, 0);
        return [.. Convert.FromHexString(Encoding.ASCII.GetString(fields[0].Text)), .. path];
    }

    private static byte[] FieldData(string name, byte[] text) => name switch
    {
        _ when text.Length == 0 => [],
        "n" or "n-ng" or "xattrnames" => [.. text, 0],
        "d-ng" or "d-ngv2" or "d-modsig" when Encoding.ASCII.GetString(text) is var s && s.LastIndexOf(':') + 1 is var hex =>
            [.. text[..hex], 0, .. Convert.FromHexString(s[hex..])],
        "iuid" or "igid" => BitConverter.GetBytes(uint.Parse(Encoding.ASCII.GetString(text), CultureInfo.InvariantCulture)),
        "imode" => BitConverter.GetBytes(ushort.Parse(Encoding.ASCII.GetString(text), CultureInfo.InvariantCulture)),
        _ => Convert.FromHexString(Encoding.ASCII.GetString(text)),
    };

    private static byte[] Sized(byte[] field)
    {
        var size = new byte[sizeof(uint)];
        BinaryPrimitives.WriteInt32LittleEndian(size, field.Length);
        return [.. size, .. field];
    }
}

using System.Collections.Immutable;
using System.Text;

namespace Keylime.Attestation;

/// <summary>The shape of a measurement's data (kernel: Documentation/security/IMA-templates.rst).</summary>
/// <remarks>
/// A template's name is not measured: whoever sends the list may put another one in its place, and have the fields read as others. So the
/// digest has to be the first field and the name the second, as in all of the kernel's own templates: what is judged is the same
/// whatever the entry is called.
/// </remarks>
internal sealed class ImaTemplate
{
    /// <summary>TEMPLATE_NUM_FIELDS_MAX of the kernel.</summary>
    public const int MaxFields = 15;

    /// <summary>Which field is the name. Only it may hold spaces.</summary>
    public const int NameAt = 1;

    private static readonly ImaTemplate Ng = new("ima-ng", "d-ng|n-ng");
    private static readonly ImaTemplate[] BuiltIn =
    [
        Ng, new("ima-sig", "d-ng|n-ng|sig"), new("ima-buf", "d-ng|n-ng|buf"), new("ima", "d|n"), new("ima-ngv2", "d-ngv2|n-ng"),
        new("ima-sigv2", "d-ngv2|n-ng|sig"), new("ima-modsig", "d-ng|n-ng|sig|d-modsig|modsig"),
        new("evm-sig", "d-ng|n-ng|evmsig|xattrnames|xattrlengths|xattrvalues|iuid|igid|imode"),
    ];

    private readonly byte[] _name;

    private ImaTemplate(string name, string format)
        : this(Encoding.ASCII.GetBytes(name), [.. format.Split('|').Select(static f => FieldOf(Encoding.ASCII.GetBytes(f))!.Value)])
    {
    }

    private ImaTemplate(byte[] name, ImmutableArray<ImaField> fields)
    {
        (_name, Fields) = (name, fields);
        IsLegacy = name.AsSpan().SequenceEqual("ima"u8);
        HasBuffer = fields.Contains(ImaField.Buffer);
    }

    public ImmutableArray<ImaField> Fields { get; }

    /// <summary><c>ima</c>: its fields have no sizes in front, and its name is filled up to 256 bytes.</summary>
    public bool IsLegacy { get; }

    /// <summary>It measures a buffer and not a file.</summary>
    public bool HasBuffer { get; }

    /// <summary>The kernel names a template, or where it has no name (<c>ima_template_fmt=</c>) lists its fields.</summary>
    /// <param name="last">The template found before, which mostly is the one.</param>
    /// <returns><see langword="null"/> for a template that cannot be taken apart here.</returns>
    public static ImaTemplate? Find(ReadOnlySpan<byte> name, ImaTemplate? last)
    {
        if (name.SequenceEqual((last ?? Ng)._name))
            return last ?? Ng;
        foreach (var known in BuiltIn)
        {
            if (name.SequenceEqual(known._name))
                return known;
        }

        return OfFields(name);
    }

    private static ImaTemplate? OfFields(ReadOnlySpan<byte> format)
    {
        var fields = ImmutableArray.CreateBuilder<ImaField>();
        foreach (var part in format.Split((byte)'|'))
        {
            if (fields.Count == MaxFields || FieldOf(format[part]) is not { } field)
                return null;
            fields.Add(field);
        }

        return fields is [ImaField.Digest or ImaField.DigestNg or ImaField.DigestNgV2, ImaField.Name or ImaField.NameNg, ..]
            && fields.Skip(NameAt + 1).All(static f => f is not (ImaField.Digest or ImaField.DigestNg or ImaField.DigestNgV2 or ImaField.Name or ImaField.NameNg))
            && fields.Count == fields.Distinct().Count()
                ? new ImaTemplate(format.ToArray(), fields.DrainToImmutable())
                : null;
    }

    private static ImaField? FieldOf(ReadOnlySpan<byte> name) => Encoding.ASCII.GetString(name) switch
    {
        "d" => ImaField.Digest,
        "n" => ImaField.Name,
        "d-ng" => ImaField.DigestNg,
        "d-ngv2" => ImaField.DigestNgV2,
        "n-ng" => ImaField.NameNg,
        "sig" => ImaField.Signature,
        "buf" => ImaField.Buffer,
        "d-modsig" => ImaField.ModsigDigest,
        "modsig" => ImaField.Modsig,
        "evmsig" => ImaField.EvmSignature,
        "iuid" => ImaField.UserId,
        "igid" => ImaField.GroupId,
        "imode" => ImaField.Mode,
        "xattrnames" => ImaField.AttributeNames,
        "xattrlengths" => ImaField.AttributeLengths,
        "xattrvalues" => ImaField.AttributeValues,
        _ => null,
    };
}

using System.Buffers.Binary;

namespace Keylime.Attestation;

/// <summary>Reads a measurement list entry by entry, in either form.</summary>
/// <param name="hashSize">Of the template hash, in bytes: the binary form does not say it.</param>
internal ref struct ImaReader(ReadOnlySpan<byte> list, ImaListFormat format, int hashSize)
{
    /// <summary>The most data of an entry in the binary form, in bytes.</summary>
    public const int MaxData = ImaText.MaxLength / 2;

    private const int MaxTemplateName = 255; // the kernel's TCG_EVENT_NAME_LEN_MAX
    private const int Sha1Size = 20;

    private readonly ImaScratch _scratch = new();
    private readonly int _length = list.Length;
    private ReadOnlySpan<byte> _rest = list;

    public ImaStep Next(out ImaRecord record, out string? wrong)
    {
        if (_rest.IsEmpty)
        {
            record = default;
            wrong = null;
            return ImaStep.End;
        }

        return format == ImaListFormat.Text ? NextLine(out record, out wrong) : NextBinary(out record, out wrong);
    }

    private ImaStep NextLine(out ImaRecord record, out string? wrong)
    {
        var end = _rest.IndexOf((byte)'\n');
        if (end < 0)
        {
            _rest = default;
            record = default;
            wrong = "it does not end with a line feed";
            return ImaStep.Lost;
        }

        var line = _rest[..end];
        _rest = _rest[(end + 1)..];
        wrong = ImaText.TryParse(line, _scratch, out record);
        return wrong is null ? ImaStep.Entry : ImaStep.Malformed;
    }

    // PCR, template hash, size and bytes of the template's name, size and bytes of its data (kernel: ima_fs.c, ima_measurements_show)
    private ImaStep NextBinary(out ImaRecord record, out string? wrong)
    {
        record = default;
        wrong = null;
        if (!TryReadHead(out record.Pcr, out record.TemplateHash, out record.TemplateName))
        {
            wrong = $"its head is cut off or no head, at byte {_length - _rest.Length}";
            _rest = default;
            return ImaStep.Lost;
        }

        var template = ImaTemplate.Find(record.TemplateName, _scratch.Last);
        _scratch.Last = template ?? _scratch.Last;
        if (!(template?.IsLegacy == true ? TryReadLegacy(out record.Data) : TryReadSized(MaxData, out record.Data)))
        {
            wrong = $"its data are cut off, or more than {MaxData} bytes, at byte {_length - _rest.Length}";
            _rest = default;
            return ImaStep.Lost;
        }

        wrong = template is null ? null : record.Split(template);
        return wrong is null ? ImaStep.Entry : ImaStep.Malformed;
    }

    private bool TryReadHead(out int pcr, out ReadOnlySpan<byte> hash, out ReadOnlySpan<byte> name)
    {
        pcr = 0;
        hash = name = default;
        if (_rest.Length < sizeof(uint) + hashSize || BinaryPrimitives.ReadUInt32LittleEndian(_rest) is var index && index > byte.MaxValue)
            return false;
        pcr = (int)index;
        hash = _rest.Slice(sizeof(uint), hashSize);
        _rest = _rest[(sizeof(uint) + hashSize)..];
        return TryReadSized(MaxTemplateName, out name) && !name.IsEmpty;
    }

    // Template ima: the digest without a size, the name with one; both are hashed as if the name were filled up.
    private bool TryReadLegacy(out ReadOnlySpan<byte> data)
    {
        data = default;
        if (_rest.Length < Sha1Size)
            return false;
        var digest = _rest[..Sha1Size];
        _rest = _rest[Sha1Size..];
        if (!TryReadSized(ImaRecord.LegacyNameSize - 1, out var name) || name.Contains((byte)0))
            return false;

        var hashed = _scratch.Need(Sha1Size + ImaRecord.LegacyNameSize)[..(Sha1Size + ImaRecord.LegacyNameSize)];
        hashed.Clear();
        digest.CopyTo(hashed);
        name.CopyTo(hashed[Sha1Size..]);
        data = hashed;
        return true;
    }

    private bool TryReadSized(int most, out ReadOnlySpan<byte> value)
    {
        value = default;
        if (_rest.Length < sizeof(uint) || BinaryPrimitives.ReadUInt32LittleEndian(_rest) is var size && (size > (uint)most || size > (uint)(_rest.Length - sizeof(uint))))
            return false;
        value = _rest.Slice(sizeof(uint), (int)size);
        _rest = _rest[(sizeof(uint) + (int)size)..];
        return true;
    }
}

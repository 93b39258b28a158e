using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Memory of one reader of one list, used again for each entry: reading allocates nothing once it has seen the longest.</summary>
internal sealed class ImaScratch
{
    private byte[] _data = new byte[4096];

    public byte[] Hash { get; } = new byte[TpmAlgorithms.MaxDigestSize];

    /// <summary>The template of the entry before.</summary>
    public ImaTemplate? Last { get; set; }

    /// <summary>At least so many bytes, of any content.</summary>
    public Span<byte> Need(int length)
    {
        if (_data.Length < length)
            _data = new byte[Math.Max(length, _data.Length * 2)];
        return _data;
    }
}

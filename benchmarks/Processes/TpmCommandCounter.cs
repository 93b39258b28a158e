using System.Buffers.Binary;

namespace Keylime.Benchmarks.Processes;

/// <summary>Counts the commands of a TPM in a stream of them, by their codes (TPM 2.0 Library, Part 1, 18.3: tag, size, code).</summary>
internal sealed class TpmCommandCounter
{
    /// <summary>TPM_CC_Quote, Part 2, 6.5.2.</summary>
    public const uint Quote = 0x158;

    private const int HeadLength = 10;

    private readonly Lock _lock = new();
    private readonly Dictionary<uint, long> _counts = [];
    private readonly byte[] _head = new byte[HeadLength];
    private int _have;
    private long _skip; // of the command that is under way

    public IReadOnlyDictionary<uint, long> Counts
    {
        get
        {
            lock (_lock)
                return _counts.ToDictionary();
        }
    }

    public void See(ReadOnlySpan<byte> bytes)
    {
        lock (_lock)
        {
            while (!bytes.IsEmpty)
            {
                if (_skip > 0)
                {
                    var rest = (int)Math.Min(_skip, bytes.Length);
                    _skip -= rest;
                    bytes = bytes[rest..];
                    continue;
                }

                var part = Math.Min(HeadLength - _have, bytes.Length);
                bytes[..part].CopyTo(_head.AsSpan(_have));
                _have += part;
                bytes = bytes[part..];
                if (_have < HeadLength)
                    continue;
                var code = BinaryPrimitives.ReadUInt32BigEndian(_head.AsSpan(6));
                _counts[code] = _counts.GetValueOrDefault(code) + 1;
                (_have, _skip) = (0, Math.Max(0, BinaryPrimitives.ReadUInt32BigEndian(_head.AsSpan(2)) - (long)HeadLength));
            }
        }
    }
}

namespace Keylime.Tenant;

/// <summary>What a decompressor gives, up to a limit; one byte can be put back.</summary>
internal sealed class LimitedStream(Stream inner, long limit) : Stream
{
    private long _read;
    private byte _last;
    private bool _isBack;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <exception cref="InvalidDataException">There is more than the limit.</exception>
    public override int Read(Span<byte> buffer)
    {
        if (buffer.IsEmpty)
            return 0;
        if (_isBack)
        {
            (buffer[0], _isBack) = (_last, false);
            return 1;
        }

        var read = inner.Read(buffer);
        if (read > 0)
            _last = buffer[read - 1];
        return (_read += read) <= limit ? read : throw new InvalidDataException($"more than {limit} bytes come out of it");
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override long Seek(long offset, SeekOrigin origin)
    {
        if (offset != -1 || origin != SeekOrigin.Current || _isBack || _read == 0)
            throw new NotSupportedException();
        _isBack = true;
        return 0;
    }

    public override void Flush()
    {
    }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}

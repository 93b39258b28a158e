using System.Net.Http.Headers;
using System.Security.Cryptography;
using Keylime.Protocol.Payloads;

namespace Keylime.Tenant.Payloads;

/// <summary>Takes a payload's ciphertext as it comes, and puts it part by part: one part of it is in memory.</summary>
internal sealed class PartUploader(ServiceApi api) : Stream
{
    private readonly byte[] _part = new byte[PayloadParts.Size];
    private readonly List<PayloadPart> _parts = [];
    private int _used;

    public override bool CanRead => false;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
        {
            if (_used == _part.Length)
                await SendAsync(cancellationToken);
            var some = Math.Min(buffer.Length, _part.Length - _used);
            buffer[..some].CopyTo(_part.AsMemory(_used));
            _used += some;
            buffer = buffer[some..];
        }
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    /// <summary>Puts what is left.</summary>
    /// <returns>All parts, in order.</returns>
    public async Task<IReadOnlyList<PayloadPart>> FinishAsync(CancellationToken cancel)
    {
        if (_used > 0)
            await SendAsync(cancel);
        return _parts;
    }

    public override void Flush()
    {
        // what is not a whole part waits for more
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException("Only what waits for the service can be written.");

    private async Task SendAsync(CancellationToken cancel)
    {
        var digest = Convert.ToHexStringLower(SHA256.HashData(_part.AsSpan(0, _used)));
        using var content = new ByteArrayContent(_part, 0, _used);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        await api.SendAsync(HttpMethod.Put, $"/v1/payload-parts/{digest}", content, cancel);
        _parts.Add(new PayloadPart(digest, _used));
        _used = 0;
    }
}

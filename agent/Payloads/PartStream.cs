using System.Net;
using System.Security.Cryptography;
using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Payloads;

/// <summary>A payload does not come as it was announced.</summary>
internal sealed class PayloadException(string message) : Exception(message);

/// <summary>The ciphertext of a payload, fetched part by part: each is looked at whole before a byte of it goes on, and one at a time is in memory.</summary>
/// <param name="path">What stands before the part's number.</param>
/// <param name="token">The one of now: a long fetch outlives a token.</param>
internal sealed class PartStream(ServiceClient service, string path, IReadOnlyList<PayloadPart> parts, Func<string?> token, TimeProvider time) : Stream
{
    private const int Tries = 5;
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(1);

    private byte[] _buffer = [];
    private ReadOnlyMemory<byte> _left;
    private int _next;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    /// <exception cref="PayloadException">A part is not the one that was announced.</exception>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_left.IsEmpty && _next < parts.Count)
            await FetchAsync(parts[_next], cancellationToken);

        var read = Math.Min(buffer.Length, _left.Length);
        _left[..read].CopyTo(buffer);
        _left = _left[read..];
        return read;
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    private async Task FetchAsync(PayloadPart part, CancellationToken cancel)
    {
        if (_buffer.Length < part.Size)
            _buffer = new byte[part.Size];
        var target = _buffer.AsMemory(0, part.Size);
        var pause = FirstPause;
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                await service.FetchAsync($"{path}/{_next}", token(), target, cancel);
                break;
            }
            catch (Exception e) when (attempt < Tries && e is HttpRequestException or ServiceRefusedException { Status: HttpStatusCode.Unauthorized or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError })
            {
                // A thin line, or a token that the loop renews meanwhile: no reason to begin a gigabyte anew.
                await Task.Delay(pause, time, cancel);
                pause *= 2;
            }
        }

        if (!CryptographicOperations.FixedTimeEquals(SHA256.HashData(target.Span), Convert.FromHexString(part.Digest)))
            throw new PayloadException($"Part {_next} is not the one that was released: its SHA-256 is another.");
        _left = target;
        _next++;
    }
}

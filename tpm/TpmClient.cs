using System.Buffers;

namespace Keylime.Tpm;

/// <summary>Executes commands on a TPM: encodes, retries what the TPM asks to have retried, decodes.</summary>
/// <param name="device">The TPM; disposed with this client.</param>
/// <param name="time">What the pauses between retries are measured by.</param>
public sealed partial class TpmClient(ITpmDevice device, TimeProvider? time = null) : IAsyncDisposable
{
    private const ushort NoSessions = 0x8001; // TPM_ST_NO_SESSIONS
    private const ushort Sessions = 0x8002;   // TPM_ST_SESSIONS
    private const int HeaderSize = 10;
    private const int MaxRetries = 12;
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _time = time ?? TimeProvider.System;

    public ValueTask DisposeAsync() => device.DisposeAsync();

    /// <summary>Sends one command and gives its typed response.</summary>
    /// <exception cref="TpmRefusedException">The TPM refused it, or was still busy after all retries.</exception>
    /// <exception cref="TpmFormatException">The response is none.</exception>
    public async ValueTask<TResponse> ExecuteAsync<TCommand, TResponse>(
        TCommand command, CancellationToken cancel, params TpmAuthorization[] authorizations)
        where TCommand : ITpmCommand<TResponse>
    {
        var encoded = Encode<TCommand, TResponse>(command, authorizations);
        var pause = FirstPause;
        for (var attempt = 0; ; attempt++)
        {
            var response = await device.SendAsync(encoded, cancel).ConfigureAwait(false);
            var code = ReadCode(response.Span);
            if (code.IsSuccess)
                return Decode<TCommand, TResponse>(response.Span);
            if (!code.IsTransient || attempt == MaxRetries)
                throw new TpmRefusedException(TCommand.Name, code);

            await Task.Delay(pause, _time, cancel).ConfigureAwait(false);
            pause = pause * 2 < LongestPause ? pause * 2 : LongestPause;
        }
    }

    private static ReadOnlyMemory<byte> Encode<TCommand, TResponse>(TCommand command, ReadOnlySpan<TpmAuthorization> authorizations)
        where TCommand : ITpmCommand<TResponse>
    {
        var body = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(body);
        command.WriteHandles(writer);
        if (!authorizations.IsEmpty)
        {
            var area = new ArrayBufferWriter<byte>();
            foreach (var authorization in authorizations)
                authorization.Write(new TpmWriter(area));
            writer.WriteUInt32((uint)area.WrittenCount);
            writer.WriteBytes(area.WrittenSpan);
        }

        command.WriteParameters(writer);

        var output = new ArrayBufferWriter<byte>();
        var header = new TpmWriter(output);
        header.WriteUInt16(authorizations.IsEmpty ? NoSessions : Sessions);
        header.WriteUInt32((uint)(HeaderSize + body.WrittenCount));
        header.WriteUInt32(TCommand.Code);
        header.WriteBytes(body.WrittenSpan);
        return output.WrittenMemory;
    }

    private static TpmResponseCode ReadCode(ReadOnlySpan<byte> response)
    {
        var reader = new TpmReader(response);
        _ = reader.ReadUInt16();
        reader.Expect((uint)response.Length, "responseSize");
        return new TpmResponseCode(reader.ReadUInt32());
    }

    private static TResponse Decode<TCommand, TResponse>(ReadOnlySpan<byte> response)
        where TCommand : ITpmCommand<TResponse>
    {
        var reader = new TpmReader(response);
        var tag = reader.ReadUInt16();
        _ = reader.ReadUInt32(); // size and code: looked at by ReadCode
        _ = reader.ReadUInt32();
        var handle = TCommand.ReturnsHandle ? reader.ReadUInt32() : 0;

        if (tag == NoSessions)
        {
            var result = TCommand.ReadResponse(handle, ref reader);
            reader.ExpectEnd();
            return result;
        }

        // With sessions the parameters have their size in front and the sessions' answers behind (Part 1, 18.10).
        var size = reader.ReadUInt32();
        var parameters = new TpmReader(reader.ReadBytes(size));
        var response2 = TCommand.ReadResponse(handle, ref parameters);
        parameters.ExpectEnd();
        while (!reader.AtEnd)
        {
            _ = reader.ReadSized(); // nonceTPM
            _ = reader.ReadUInt8(); // sessionAttributes
            _ = reader.ReadSized(); // hmac: empty for a password, and for a policy without an authorization value
        }

        return response2;
    }
}

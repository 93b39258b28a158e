using System.Buffers;
using Keylime.Tpm.Transports;

namespace Keylime.Tpm;

/// <summary>Executes commands on a TPM: encodes, retries what the TPM asks to have retried, decodes.</summary>
/// <param name="device">The TPM; disposed with this client.</param>
/// <param name="time">What the pauses between retries are measured by.</param>
public sealed partial class TpmClient(ITpmDevice device, TimeProvider? time = null) : IAsyncDisposable
{
    private const ushort NoSessions = 0x8001; // TPM_ST_NO_SESSIONS
    private const ushort Sessions = 0x8002;   // TPM_ST_SESSIONS
    private const ushort Tpm12 = 0x00C4;      // TPM_TAG_RSP_COMMAND of TPM 1.2
    private const int MaxRetries = 12;
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly TimeProvider _time = time ?? TimeProvider.System;

    public ValueTask DisposeAsync() => device.DisposeAsync();

    /// <summary>Sends one command and gives its typed response.</summary>
    /// <exception cref="TpmRefusedException">The TPM refused it, or was still busy after all retries.</exception>
    /// <exception cref="TpmFormatException">The response is none.</exception>
    /// <exception cref="TpmDeviceException">The TPM cannot be reached.</exception>
    public async ValueTask<TResponse> ExecuteAsync<TCommand, TResponse>(
        TCommand command, CancellationToken cancel, params TpmAuthorization[] authorizations)
        where TCommand : ITpmCommand<TResponse>
    {
        var encoded = Encode<TCommand, TResponse>(command, authorizations);
        var response = await SendAsync(TCommand.Name, encoded, cancel).ConfigureAwait(false);
        return Decode<TCommand, TResponse>(response.Span, authorizations.Length);
    }

    // Sends, and sends again as long as the TPM asks for that.
    private async ValueTask<ReadOnlyMemory<byte>> SendAsync(string name, ReadOnlyMemory<byte> encoded, CancellationToken cancel)
    {
        var pause = FirstPause;
        for (var attempt = 0; ; attempt++)
        {
            var response = await device.SendAsync(encoded, cancel).ConfigureAwait(false);
            var code = ReadCode(response.Span);
            if (code.IsSuccess)
                return response;
            if (!code.IsTransient || attempt == MaxRetries)
                throw new TpmRefusedException(name, code);

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

        return Frame(authorizations.IsEmpty ? NoSessions : Sessions, TCommand.Code, TCommand.Name, body.WrittenSpan);
    }

    private static ReadOnlyMemory<byte> Frame(ushort tag, uint code, string name, ReadOnlySpan<byte> body)
    {
        var output = new ArrayBufferWriter<byte>();
        var header = new TpmWriter(output);
        header.WriteUInt16(tag);
        header.WriteUInt32((uint)(ResponseFrame.HeaderSize + body.Length));
        header.WriteUInt32(code);
        header.WriteBytes(body);
        if (output.WrittenCount > ResponseFrame.MaxSize)
            throw new ArgumentException($"{name} of {output.WrittenCount} bytes, {ResponseFrame.MaxSize} at most.", nameof(body));
        return output.WrittenMemory;
    }

    private static TpmResponseCode ReadCode(ReadOnlySpan<byte> response)
    {
        var reader = new TpmReader(response);
        var tag = reader.ReadUInt16();
        reader.Expect((uint)response.Length, "responseSize");
        var code = new TpmResponseCode(reader.ReadUInt32());

        // A refusal has no sessions (Part 1, 18.9); a TPM 1.2 refuses every command of ours, in its own way.
        if (!code.IsSuccess && tag is not (NoSessions or Tpm12))
            throw new TpmFormatException($"a refusal with the tag 0x{tag:x4}", 0);
        return code;
    }

    private static TResponse Decode<TCommand, TResponse>(ReadOnlySpan<byte> response, int sessions)
        where TCommand : ITpmCommand<TResponse>
    {
        var reader = new TpmReader(response);
        reader.Expect(sessions == 0 ? NoSessions : Sessions, "response tag");
        _ = reader.ReadUInt32(); // size and code: looked at by ReadCode
        _ = reader.ReadUInt32();
        var handle = TCommand.ReturnsHandle ? reader.ReadUInt32() : 0;

        // With sessions the parameters have their size in front and the sessions' answers behind (Part 1, 18.10).
        var parameters = sessions == 0 ? reader : reader.ReadPart(reader.ReadUInt32());
        var result = TCommand.ReadResponse(handle, ref parameters);
        parameters.ExpectEnd();
        if (sessions == 0)
            return result;

        for (var i = 0; i < sessions; i++)
            SkipAuthorization(ref reader);

        reader.ExpectEnd();
        return result;
    }

    private static void SkipAuthorization(ref TpmReader reader)
    {
        _ = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "nonceTPM");
        _ = reader.ReadUInt8(); // sessionAttributes
        _ = reader.ReadSized(TpmAlgorithms.MaxDigestSize, "hmac"); // keyed with nothing, so there is nothing to check
    }
}

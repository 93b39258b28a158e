using System.Buffers;
using System.Security.Cryptography;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm;

public sealed partial class TpmClient
{
    private static readonly TpmAlgorithm SessionHash = TpmAlgorithm.Sha256;

    /// <summary>Starts an HMAC session whose key nobody on the bus can know: its salt is for <paramref name="saltKey"/> alone, a decryption key of this TPM.</summary>
    public async ValueTask<TpmSession> StartSaltedSessionAsync(LoadedKey saltKey, CancellationToken cancel)
    {
        ArgumentNullException.ThrowIfNull(saltKey);
        var nonce = RandomNumberGenerator.GetBytes(SessionHash.DigestSize());
        var (salt, encrypted) = TpmKdf.MakeSecret(saltKey.Public, TpmKdf.Secret);
        var (handle, nonceTpm) = await ExecuteAsync<StartHmacSession, (uint, byte[])>(
            new StartHmacSession(saltKey.Handle, nonce, encrypted, SessionHash), cancel).ConfigureAwait(false);
        return new TpmSession(handle, SessionHash, salt, nonce, nonceTpm);
    }

    /// <summary>Sends one command beside a session that authenticates it, and hides its first parameter, the answer's, or both.</summary>
    /// <param name="names">Of what the command's handles stand for, in their order: an object's name, or the handle itself where it has none (Part 1, 16).</param>
    /// <exception cref="TpmRefusedException">The TPM refused it; the session is of no use any more.</exception>
    /// <exception cref="TpmFormatException">The response is none, or was altered on its way.</exception>
    internal async ValueTask<TResponse> ExecuteHiddenAsync<TCommand, TResponse>(
        TCommand command, IReadOnlyList<ReadOnlyMemory<byte>> names, TpmSession session, bool hideRequest, bool hideResponse, CancellationToken cancel,
        params TpmAuthorization[] authorizations)
        where TCommand : ITpmCommand<TResponse>
    {
        var encoded = EncodeHidden<TCommand, TResponse>(command, names, session, hideRequest, hideResponse, authorizations);
        var response = await SendAsync(TCommand.Name, encoded, cancel).ConfigureAwait(false);
        return DecodeHidden<TCommand, TResponse>(response.Span, session, hideResponse, authorizations.Length);
    }

    private static ReadOnlyMemory<byte> EncodeHidden<TCommand, TResponse>(
        TCommand command, IReadOnlyList<ReadOnlyMemory<byte>> names, TpmSession session, bool hideRequest, bool hideResponse, TpmAuthorization[] authorizations)
        where TCommand : ITpmCommand<TResponse>
    {
        var written = new ArrayBufferWriter<byte>();
        command.WriteParameters(new TpmWriter(written));
        var parameters = written.WrittenSpan.ToArray();
        session.Begin(parameters, hideRequest);

        var hashed = new ArrayBufferWriter<byte>(); // cpHash, Part 1, 18.7
        var hash = new TpmWriter(hashed);
        hash.WriteUInt32(TCommand.Code);
        foreach (var name in names)
            hash.WriteBytes(name.Span);
        hash.WriteBytes(parameters);

        var area = new ArrayBufferWriter<byte>();
        foreach (var authorization in authorizations)
            authorization.Write(new TpmWriter(area));
        session.Write(new TpmWriter(area), session.Hash(hashed.WrittenSpan), TpmSession.AttributesOf(hideRequest, hideResponse));

        var body = new ArrayBufferWriter<byte>();
        var writer = new TpmWriter(body);
        command.WriteHandles(writer);
        writer.WriteUInt32((uint)area.WrittenCount);
        writer.WriteBytes(area.WrittenSpan);
        writer.WriteBytes(parameters);
        return Frame(Sessions, TCommand.Code, TCommand.Name, body.WrittenSpan);
    }

    private static TResponse DecodeHidden<TCommand, TResponse>(ReadOnlySpan<byte> response, TpmSession session, bool hideResponse, int authorizations)
        where TCommand : ITpmCommand<TResponse>
    {
        var reader = new TpmReader(response);
        reader.Expect(Sessions, "response tag");
        _ = reader.ReadUInt32(); // size and code: looked at by SendAsync
        _ = reader.ReadUInt32();
        var handle = TCommand.ReturnsHandle ? reader.ReadUInt32() : 0;
        var parameters = reader.ReadBytes(reader.ReadUInt32()).ToArray();
        for (var i = 0; i < authorizations; i++)
            SkipAuthorization(ref reader);

        var hashed = new ArrayBufferWriter<byte>(); // rpHash, Part 1, 18.8
        var hash = new TpmWriter(hashed);
        hash.WriteUInt32(0); // the response code: success
        hash.WriteUInt32(TCommand.Code);
        hash.WriteBytes(parameters);
        session.End(ref reader, session.Hash(hashed.WrittenSpan), parameters, hideResponse);
        reader.ExpectEnd();

        var plain = new TpmReader(parameters);
        var result = TCommand.ReadResponse(handle, ref plain);
        plain.ExpectEnd();
        return result;
    }

    private async ValueTask<T> WithSaltedSessionAsync<T>(LoadedKey saltKey, Func<TpmSession, ValueTask<T>> use, CancellationToken cancel)
    {
        var session = await StartSaltedSessionAsync(saltKey, cancel).ConfigureAwait(false);
        return await UsingAsync(session.Handle, () => use(session)).ConfigureAwait(false);
    }

    // A high-range endorsement key takes its empty password. The policy of a low-range one: TPM2_PolicySecret(endorsement)
    // (TCG EK Credential Profile 2.4, B.6.2, PolicyA).
    private async ValueTask<T> WithEndorsementPolicyAsync<T>(
        LoadedKey endorsementKey, Func<TpmAuthorization, ValueTask<T>> use, CancellationToken cancel)
    {
        if (endorsementKey.Public.Attributes.HasFlag(ObjectAttributes.UserWithAuth))
            return await use(TpmAuthorization.Password).ConfigureAwait(false);

        return await WithPolicySessionAsync(endorsementKey.Public.NameAlgorithm, async session =>
        {
            await PolicySecretAsync(Endorsement, session, cancel).ConfigureAwait(false);
            return await use(TpmAuthorization.PolicyOnce(session)).ConfigureAwait(false);
        }, cancel).ConfigureAwait(false);
    }

    // A policy session ends with the command that it was for, if that succeeds; if anything else happened the TPM may still have it.
    private async ValueTask<T> WithPolicySessionAsync<T>(TpmAlgorithm hash, Func<uint, ValueTask<T>> use, CancellationToken cancel)
    {
        var session = await StartPolicySessionAsync(hash, cancel).ConfigureAwait(false);
        try
        {
            return await use(session).ConfigureAwait(false);
        }
        catch
        {
            await FlushQuietlyAsync(session).ConfigureAwait(false);
            throw;
        }
    }

    // A session that stays in the TPM until it is flushed, whatever became of what it was used for.
    private async ValueTask<T> UsingAsync<T>(uint session, Func<ValueTask<T>> use)
    {
        T result;
        try
        {
            result = await use().ConfigureAwait(false);
        }
        catch
        {
            await FlushQuietlyAsync(session).ConfigureAwait(false);
            throw;
        }

        await FlushContextAsync(session, CancellationToken.None).ConfigureAwait(false);
        return result;
    }

    // After a failure: that a session is gone already, or the whole TPM, must not hide what the failure was.
    private async ValueTask FlushQuietlyAsync(uint session)
    {
        try
        {
            await FlushContextAsync(session, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TpmRefusedException or TpmFormatException or TpmDeviceException)
        {
            // it is not there any more, or nobody can be asked
        }
    }
}

using System.Buffers.Binary;
using System.Security.Cryptography;
using Keylime.Testing;
using Keylime.Tpm.Commands;

namespace Keylime.Tpm.Tests;

/// <summary>Salted sessions, with somebody between the processor and the TPM who listens, alters, replays, or cuts the line.</summary>
public sealed class SessionTests : IAsyncLifetime
{
    private const uint LoadedSessions = 0x02000000;
    private const int HeaderSize = 10;

    private Swtpm _swtpm = null!; // InitializeAsync
    private Bus _bus = null!;
    private TpmClient _tpm = null!;
    private LoadedKey _ek = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static readonly PcrSelection Selection = new(TpmAlgorithm.Sha256, PcrSet.Of(16));

    public async ValueTask InitializeAsync()
    {
        _swtpm = await Swtpm.StartAsync(null, Cancel);
        _bus = new Bus(TpmDevices.Open(_swtpm.Spec));
        _tpm = new TpmClient(_bus);
        _ek = await _tpm.CreatePrimaryAsync(TpmClient.Endorsement, KeyTemplates.EkEccP256, Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await _tpm.DisposeAsync();
        await _swtpm.DisposeAsync();
    }

    [Fact]
    public async Task A_session_serves_many_commands_and_every_one_has_fresh_nonces()
    {
        var session = await _tpm.StartSaltedSessionAsync(_ek, Cancel);
        var (seen, random) = (new HashSet<string>(), new List<byte[]>());
        for (var i = 0; i < 6; i++)
        {
            random.Add(await RandomAsync(session));
            var command = _bus.Commands[^1]; // header 10, size of the authorization area 4, session 4, size of the nonce 2
            Assert.True(seen.Add(Convert.ToHexString(command.AsSpan(20, 32))), "the caller's nonce came twice");
            var response = _bus.Responses[^1]; // header 10, size of the parameters 4, size of the bytes 2, 32 bytes, size of the nonce 2
            Assert.True(seen.Add(Convert.ToHexString(response.AsSpan(50, 32))), "the TPM's nonce came twice");
        }

        Assert.All(_bus.Responses, response => Assert.All(random, bytes => Assert.Equal(-1, response.AsSpan().IndexOf(bytes))));
        await _tpm.FlushContextAsync(session.Handle, Cancel);
    }

    [Fact]
    public async Task An_answer_that_was_good_once_is_not_taken_again()
    {
        var session = await _tpm.StartSaltedSessionAsync(_ek, Cancel);
        await RandomAsync(session);
        var old = _bus.Responses[^1];
        _bus.Alter = (code, response) => code == GetRandom.Code ? old : response;
        Assert.Contains("altered", (await Assert.ThrowsAsync<TpmFormatException>(() => RandomAsync(session))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task No_byte_of_an_answer_can_be_changed()
    {
        var session = await _tpm.StartSaltedSessionAsync(_ek, Cancel);
        await RandomAsync(session);
        var length = _bus.Responses[^1].Length;
        for (var at = 0; at < length; at++)
        {
            session = await RestartAsync(session);
            _bus.Alter = (code, response) => code == GetRandom.Code ? Flip(response, at) : response;
            var thrown = await Assert.ThrowsAnyAsync<Exception>(() => RandomAsync(session));
            Assert.True(thrown is TpmFormatException or TpmRefusedException, $"byte {at}: {thrown}");
        }
    }

    [Fact]
    public async Task A_command_that_is_altered_on_its_way_the_TPM_refuses()
    {
        var seal = await SealAsync("a secret"u8.ToArray());
        Assert.Equal("a secret"u8.ToArray(), await _tpm.UnsealAsync(seal, _ek, Selection, Cancel));
        _bus.AlterCommand = (code, command) => code == Unseal.Code ? Flip(command, command.Length - 1) : command; // the last byte of the HMAC
        Assert.Equal(TpmError.BadAuth, (await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.UnsealAsync(seal, _ek, Selection, Cancel))).Code.Error);

        // Nor can the wish to hide the answer be taken out: the attributes are under the HMAC, too. (A TPM may miss its use first.)
        _bus.AlterCommand = (code, command) => code == Unseal.Code ? Flip(command, command.Length - 35, 0x40) : command;
        Assert.Contains((await Assert.ThrowsAsync<TpmRefusedException>(async () => await _tpm.UnsealAsync(seal, _ek, Selection, Cancel))).Code.Error, (TpmError[])[TpmError.BadAuth, TpmError.Attributes]);

        // What is hidden in a command, and altered there, does not get in.
        _bus.AlterCommand = (code, command) => code == CreateSealed.Code ? Flip(command, command.Length - 60) : command;
        await Assert.ThrowsAsync<TpmRefusedException>(() => SealAsync("a secret"u8.ToArray()));
        _bus.AlterCommand = static (_, command) => command;
        Assert.Empty(await _tpm.GetHandlesAsync(LoadedSessions, Cancel));
    }

    [Fact]
    public async Task Every_secret_is_hidden_both_ways()
    {
        var secret = RandomNumberGenerator.GetBytes(32);
        var seal = await SealAsync(secret);
        Assert.Equal(secret, await _tpm.UnsealAsync(seal, _ek, Selection, Cancel));
        await _tpm.FlushContextAsync(seal.Handle, Cancel);

        var (area, wrapped) = await _tpm.CreateUnderEndorsementKeyAsync(_ek, KeyTemplates.AkEccP256(), Cancel);
        var ak = await _tpm.LoadUnderEndorsementKeyAsync(_ek, area, wrapped, Cancel);
        var credential = await _tpm.MakeCredentialAsync(_ek, secret, ak.Name, _ek, Cancel);
        Assert.Equal(secret, await _tpm.ActivateCredentialAsync(ak, _ek, credential, Cancel));
        await _tpm.FlushContextAsync(ak.Handle, Cancel);

        var rsa = await _tpm.CreatePrimaryAsync(TpmClient.Owner, Decrypting, Cancel);
        using var key = ((PublicArea.Rsa)rsa.Public).CreateKey();
        Assert.Equal(secret, await _tpm.RsaDecryptAsync(rsa, key.Encrypt(secret, RSAEncryptionPadding.OaepSHA256), TpmAlgorithm.Sha256, default, rsa, Cancel));

        Assert.All(_bus.Commands.Concat(_bus.Responses), packet => Assert.Equal(-1, packet.AsSpan().IndexOf(secret)));
        Assert.Empty(await _tpm.GetHandlesAsync(LoadedSessions, Cancel));
    }

    [Theory]
    [InlineData(0x00000151)] // TPM2_PolicySecret
    [InlineData(0x00000147)] // TPM2_ActivateCredential
    public async Task Whatever_goes_wrong_no_session_stays_behind_and_what_went_wrong_is_told(uint command)
    {
        var (area, wrapped) = await _tpm.CreateUnderEndorsementKeyAsync(_ek, KeyTemplates.AkEccP256(), Cancel);
        var ak = await _tpm.LoadUnderEndorsementKeyAsync(_ek, area, wrapped, Cancel);
        var credential = await _tpm.MakeCredentialAsync(_ek, new byte[32], ak.Name, _ek, Cancel);

        // an answer that is none
        _bus.Alter = (code, response) => code == command && response.Length > HeaderSize ? Flip(response, 11) : response; // a refusal to retry passes
        await Assert.ThrowsAsync<TpmFormatException>(async () => await _tpm.ActivateCredentialAsync(ak, _ek, credential, Cancel));
        _bus.Alter = static (_, response) => response;
        Assert.Empty(await _tpm.GetHandlesAsync(LoadedSessions, Cancel));

        // the agent is told to stop
        using var stop = new CancellationTokenSource();
        _bus.AlterCommand = (code, bytes) =>
        {
            if (code == command)
                stop.Cancel();
            return bytes;
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await _tpm.ActivateCredentialAsync(ak, _ek, credential, stop.Token));
        _bus.AlterCommand = static (_, bytes) => bytes;
        Assert.Empty(await _tpm.GetHandlesAsync(LoadedSessions, Cancel));

        // told to stop, at a device that is of no use after that, as the kernel's is: that it was told to stop is what is said
        using var again = new CancellationTokenSource();
        _bus.AlterCommand = (code, bytes) =>
        {
            if (again.IsCancellationRequested)
                throw new TpmDeviceException("The TPM device was left in the middle of a command.");
            if (code == command)
            {
                again.Cancel();
                again.Token.ThrowIfCancellationRequested();
            }

            return bytes;
        };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await _tpm.ActivateCredentialAsync(ak, _ek, credential, again.Token));
    }

    private static PublicArea.Rsa Decrypting => new()
    {
        NameAlgorithm = TpmAlgorithm.Sha256,
        Attributes = ObjectAttributes.FixedTpm | ObjectAttributes.FixedParent | ObjectAttributes.SensitiveDataOrigin | ObjectAttributes.UserWithAuth | ObjectAttributes.Decrypt,
        KeyBits = 2048,
        Modulus = ReadOnlyMemory<byte>.Empty,
    };

    private async Task<LoadedSeal> SealAsync(byte[] data)
    {
        var policy = await _tpm.ComputePcrPolicyAsync(Selection, ReadOnlyMemory<byte>.Empty, TpmAlgorithm.Sha256, Cancel);
        var (@private, area) = await _tpm.SealAsync(_ek, new SealedArea { AuthPolicy = policy }, data, Cancel);
        return await _tpm.LoadSealAsync(_ek, area, @private, Cancel);
    }

    // 32 bytes, hidden on their way: the simplest command that has an answer to hide
    private Task<byte[]> RandomAsync(TpmSession session) => _tpm.ExecuteHiddenAsync<GetRandom, byte[]>(
        new GetRandom(32), [], session, hideRequest: false, hideResponse: true, Cancel).AsTask();

    private async Task<TpmSession> RestartAsync(TpmSession session)
    {
        _bus.Alter = static (_, response) => response;
        await _tpm.FlushContextAsync(session.Handle, Cancel);
        return await _tpm.StartSaltedSessionAsync(_ek, Cancel);
    }

    private static byte[] Flip(byte[] bytes, int at, byte bits = 1)
    {
        var flipped = (byte[])bytes.Clone();
        flipped[at] ^= bits;
        return flipped;
    }

    /// <summary>The wires between the processor and the TPM.</summary>
    private sealed class Bus(ITpmDevice device) : ITpmDevice
    {
        public List<byte[]> Commands { get; } = [];

        public List<byte[]> Responses { get; } = [];

        /// <summary>The command's code and the response; the response that arrives.</summary>
        public Func<uint, byte[], byte[]> Alter { get; set; } = static (_, response) => response;

        public Func<uint, byte[], byte[]> AlterCommand { get; set; } = static (_, command) => command;

        public async ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
        {
            var code = BinaryPrimitives.ReadUInt32BigEndian(command.Span[6..]);
            Commands.Add(command.ToArray());
            var response = (await device.SendAsync(AlterCommand(code, command.ToArray()), cancel)).ToArray();
            Responses.Add(response);
            return Alter(code, response);
        }

        public ValueTask DisposeAsync() => device.DisposeAsync();
    }
}

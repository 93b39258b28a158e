using Microsoft.Extensions.Time.Testing;

namespace Keylime.Tpm.Tests;

/// <summary>The frame around commands and responses, retries, and responses that no honest TPM gives.</summary>
public static class FrameTests
{
    private const string Retry = "8001 0000000a 00000922";
    private const string TwoBytes = "8001 0000000e 00000000 0002 abcd";

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static PcrSelection Pcrs(params int[] pcrs) => new(TpmAlgorithm.Sha1, PcrSet.Of(pcrs));

    [Fact]
    public static async Task A_command_without_sessions()
    {
        var device = new RecordingTpm(TwoBytes);
        await using var tpm = new TpmClient(device);
        Assert.Equal([0xab, 0xcd], await tpm.GetRandomAsync(2, Cancel));
        Assert.Equal(["80010000000c0000017b0002"], device.Commands);
    }

    [Fact]
    public static async Task CVE_2020_8918_a_TPM_1_2_is_refused()
    {
        // what a TPM 1.2 answers to every command of ours: its own tag, and TPM_BADTAG
        await using var tpm = new TpmClient(new RecordingTpm("00c4 0000000a 0000001e"));
        await Assert.ThrowsAsync<TpmRefusedException>(async () => await tpm.StartupAsync(keepState: false, Cancel));
    }

    [Fact]
    public static async Task A_command_with_a_password_session()
    {
        var device = new RecordingTpm("8002 00000013 00000000 00000000 0000 01 0000");
        await using var tpm = new TpmClient(device);
        await tpm.PcrExtendAsync(16, [(TpmAlgorithm.Sha1, new byte[20])], Cancel);
        var parameters = "00000001" + "0004" + new string('0', 40);
        Assert.Equal(["8002" + "00000035" + "00000182" + "00000010" + "00000009" + "40000009" + "0000" + "00" + "0000" + parameters], device.Commands);
    }

    [Theory]
    [InlineData("8001 0000000a 0000018b", "The TPM refused TPM2_GetRandom: 0x18b (TPM_RC_HANDLE (handle 1): the handle is not correct, or nothing is there).")]
    [InlineData("00c4 0000000a 0000001e", "The TPM refused TPM2_GetRandom: 0x01e (TPM_RC_BAD_TAG: the command has a tag the TPM does not know; a TPM 1.2 says so to every TPM 2.0 command).")]
    public static async Task Refusals(string response, string message)
    {
        await using var tpm = new TpmClient(new RecordingTpm(response));
        var refused = await Assert.ThrowsAsync<TpmRefusedException>(async () => await tpm.GetRandomAsync(2, Cancel));
        Assert.Equal(message, refused.Message);
    }

    [Theory]
    [InlineData("", "2 bytes wanted, 0 left, at byte 0.")]
    [InlineData("8001 0000000b 00000000", "responseSize is 0x0000000b, not 0x0000000a, at byte 2.")]
    [InlineData("8001 0000000a 00000000 0002 abcd", "responseSize is 0x0000000a, not 0x0000000e, at byte 2.")]
    [InlineData("8002 0000000a 0000018b", "a refusal with the tag 0x8002 at byte 0.")]
    [InlineData("8002 0000000e 00000000 0002 abcd", "response tag is 0x8002, not 0x8001, at byte 0.")]
    [InlineData("00c4 0000000e 00000000 0002 abcd", "response tag is 0x00c4, not 0x8001, at byte 0.")]
    [InlineData("8001 0000000f 00000000 0002 abcd 00", "1 bytes left over at byte 14.")]
    [InlineData("8001 0000000f 00000000 0003 abcdef", "3 random bytes where 1 to 2 are expected at byte 0.")]
    [InlineData("8001 0000000c 00000000 0000", "0 random bytes where 1 to 2 are expected at byte 0.")]
    public static async Task Malformed_responses(string response, string message)
    {
        await using var tpm = new TpmClient(new RecordingTpm(response));
        var malformed = await Assert.ThrowsAsync<TpmFormatException>(async () => await tpm.GetRandomAsync(2, Cancel));
        Assert.Equal(message, malformed.Message);
    }

    [Theory]
    [InlineData("8001 0000000a 00000000", "response tag is 0x8001, not 0x8002, at byte 0.")] // the session's answer is missing
    [InlineData("8002 0000000e 00000000 00000000", "2 bytes wanted, 0 left, at byte 14.")]
    [InlineData("8002 00000014 00000000 00000001 00 0000 01 0000", "1 bytes left over at byte 14.")] // a parameter where there is none
    [InlineData("8002 00000018 00000000 00000000 0000 01 0000 0000 01 0000", "5 bytes left over at byte 19.")] // a session too many
    [InlineData("8002 00000013 00000000 ffffffff 0000 01 0000", "4294967295 bytes wanted, 5 left, at byte 14.")]
    public static async Task Malformed_responses_with_sessions(string response, string message)
    {
        await using var tpm = new TpmClient(new RecordingTpm(response));
        var malformed = await Assert.ThrowsAsync<TpmFormatException>(async () => await tpm.PcrResetAsync(16, Cancel));
        Assert.Equal(message, malformed.Message);
    }

    [Fact]
    public static async Task A_busy_TPM_is_asked_again_after_a_while()
    {
        var device = new RecordingTpm(Retry, "8001 0000000a 00000908", "8001 0000000a 0000090a", TwoBytes);
        var clock = new FakeTimeProvider();
        await using var tpm = new TpmClient(device, clock);
        var random = tpm.GetRandomAsync(2, Cancel).AsTask();
        Assert.Single(device.Commands);
        await AdvanceUntilDoneAsync(clock, random);

        Assert.Equal(2, (await random).Length);
        Assert.Equal(4, device.Commands.Count);
        Assert.Single(device.Commands.Distinct());
    }

    [Fact]
    public static async Task A_TPM_that_stays_busy_is_given_up()
    {
        var device = new RecordingTpm(Retry);
        var clock = new FakeTimeProvider();
        await using var tpm = new TpmClient(device, clock);
        var random = tpm.GetRandomAsync(2, Cancel).AsTask();
        await AdvanceUntilDoneAsync(clock, random);

        var refused = await Assert.ThrowsAsync<TpmRefusedException>(() => random);
        Assert.Equal(TpmError.Retry, refused.Code.Error);
        Assert.InRange(device.Commands.Count, 5, 20);
        Assert.InRange((clock.GetUtcNow() - clock.Start).TotalSeconds, 2, 30);
    }

    private static async Task AdvanceUntilDoneAsync(FakeTimeProvider clock, Task task)
    {
        for (var i = 0; i < 2000 && !task.IsCompleted; i++)
        {
            clock.Advance(TimeSpan.FromMilliseconds(10));
            await Task.Yield();
        }
    }

    private static string PcrResponse(int counter, string bitmap, params string[] values)
    {
        var body = $"{counter:x8}" + "00000001" + "0004" + "03" + bitmap + $"{values.Length:x8}"
            + string.Concat(values.Select(v => v switch
            {
                "" => "0000",
                "long" => "0020" + new string('a', 64),
                _ => "0014" + string.Concat(Enumerable.Repeat(v, 20)),
            }));
        return "8001" + $"{10 + body.Length / 2:x8}" + "00000000" + body;
    }

    [Fact]
    public static async Task PCRs_that_change_between_two_readings_are_read_again()
    {
        var device = new RecordingTpm(
            PcrResponse(7, "010000", "aa"), PcrResponse(8, "020000", "bb"), PcrResponse(8, "010000", "cc"), PcrResponse(8, "020000", "dd"));
        await using var tpm = new TpmClient(device);
        var pcrs = await tpm.PcrReadAsync(Pcrs(0, 1), Cancel);
        Assert.Equal([0xcc, 0xdd], pcrs.Values.Select(value => value.Span[0]));
    }

    [Fact]
    public static async Task PCRs_that_never_stay_the_same_are_given_up()
    {
        var responses = Enumerable.Range(0, 100).Select(i => PcrResponse(i, i % 2 == 0 ? "010000" : "020000", "aa"));
        await using var tpm = new TpmClient(new RecordingTpm([.. responses]));
        await Assert.ThrowsAsync<TpmDeviceException>(async () => await tpm.PcrReadAsync(Pcrs(0, 1), Cancel));
    }

    [Theory]
    [InlineData("000000")] // a bank that is not there
    [InlineData("040000", "aa")] // another PCR than the one that was asked for
    [InlineData("010000")] // a PCR without its value
    [InlineData("030000", "aa", "bb")] // more than was asked for
    [InlineData("010000", "long")] // a value that is no digest of the bank
    [InlineData("010000", "")] // nor is nothing
    public static async Task PCRs_that_were_not_asked_for_are_refused(string bitmap, params string[] values)
    {
        await using var tpm = new TpmClient(new RecordingTpm(PcrResponse(1, bitmap, values)));
        await Assert.ThrowsAsync<TpmFormatException>(async () => await tpm.PcrReadAsync(Pcrs(0), Cancel));
    }

    [Theory]
    [InlineData("00000001" + "00000002" + "80000000" + "80000001")] // and again the same two
    [InlineData("00000001" + "00000001" + "80000000")]
    public static async Task A_list_without_an_end_is_given_up(string handles)
    {
        var body = "01" + handles; // more to come
        await using var tpm = new TpmClient(new RecordingTpm("8001" + $"{10 + body.Length / 2:x8}" + "00000000" + body));
        await Assert.ThrowsAsync<TpmFormatException>(async () => await tpm.GetHandlesAsync(0x80000000, Cancel));
    }

    [Fact]
    public static async Task Algorithms_in_a_circle_are_given_up()
    {
        const string body = "01" + "00000000" + "00000001" + "0004" + "00000004"; // SHA-1, and more to come
        await using var tpm = new TpmClient(new RecordingTpm("8001" + "00000019" + "00000000" + body));
        await Assert.ThrowsAsync<TpmFormatException>(async () => await tpm.GetAlgorithmsAsync(Cancel));
    }

    [Fact]
    public static async Task A_digest_of_the_wrong_size_is_not_sent()
    {
        var device = new RecordingTpm(TwoBytes);
        await using var tpm = new TpmClient(device);
        await Assert.ThrowsAsync<ArgumentException>(async () => await tpm.PcrExtendAsync(16, [(TpmAlgorithm.Sha256, new byte[20])], Cancel));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(async () => await tpm.PcrExtendAsync(32, [(TpmAlgorithm.Sha1, new byte[20])], Cancel));
        Assert.Empty(device.Commands);
    }
}

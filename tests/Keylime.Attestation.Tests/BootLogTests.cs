using System.Security.Cryptography;
using CsCheck;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>The frame of a boot log: what is read, what is refused, and with which words.</summary>
public sealed class BootLogTests
{
    private static readonly byte[] Good = BootLogBuilder.Debian(TpmAlgorithm.Sha1, TpmAlgorithm.Sha256).Build();
    private static readonly byte[] Legacy = BootLogBuilder.Debian().Build();

    [Fact]
    public void A_crypto_agile_log_is_read()
    {
        var log = Parse(Good);
        Assert.True(log.IsCryptoAgile);
        Assert.Equal([TpmAlgorithm.Sha1, TpmAlgorithm.Sha256], log.Banks);
        Assert.Equal(Enumerable.Range(0, log.Events.Length), log.Events.Select(static e => e.Index));
        Assert.Equal("EV_NO_ACTION", log.Events[0].TypeName);
        Assert.Equal("EV_S_CRTM_VERSION", log.Events[1].TypeName);
        Assert.Equal(SHA256.HashData(BootData.Utf16("1.0")), log.Events[1].Digest(TpmAlgorithm.Sha256)!.Value.ToArray());
        Assert.Null(log.Events[1].Digest(TpmAlgorithm.Sha384));
        Assert.DoesNotContain(log.Events, static e => e.UntrustedData is BootEventData.Malformed or BootEventData.Unknown);
    }

    [Fact]
    public void A_log_of_SHA1_alone_is_read()
    {
        var log = Parse(Legacy);
        Assert.False(log.IsCryptoAgile);
        Assert.Equal([TpmAlgorithm.Sha1], log.Banks);
        Assert.Equal("EV_S_CRTM_VERSION", log.Events[0].TypeName);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void A_log_that_was_read_is_written_as_it_was(int banks)
    {
        var written = BootLogBuilder.Debian([.. ((TpmAlgorithm[])[TpmAlgorithm.Sha384, TpmAlgorithm.Sha1, TpmAlgorithm.Sha256]).Take(banks)]).Build();
        Assert.Equal(written, BootLogBuilder.From(Parse(written)).Build());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Cut_anywhere_it_is_a_shorter_log_or_refused(bool agile)
    {
        var whole = agile ? Good : Legacy;
        var events = Parse(whole).Events.Length;
        var starts = Boundaries(whole);
        for (var length = 0; length < whole.Length; length++)
        {
            var read = BootLog.TryParse(whole.AsMemory(0, length), out var log, out var error);
            Assert.Equal(starts.Contains(length), read);
            if (read)
                Assert.True(log!.Events.Length < events);
            else
                Assert.Matches(length == 0 ? "^The boot log is empty" : @"^The boot log cannot be read: event \d+: .* at byte \d+\.", error!);
        }
    }

    public static TheoryData<string, byte[], string> Refused => new()
    {
        { "nothing", [], "The boot log is empty: an event at least is expected." },
        { "ASCII", "\"it_is\": \"not-a-log\" at all, is it?"u8.ToArray(), "event 0: PCR 1601464610, 23 at most, at byte 0." },
        { "a PCR that no TPM has", Frame(24, 4, 4), "event 1: PCR 24, 23 at most, at byte 69." },
        { "no PCR, and not a remark", Frame(0xFFFF_FFFF, 4, 4), "event 1: PCR 4294967295, 23 at most, at byte 69." },
        { "more digests than banks", [.. Head(), .. BootData.U32(0), .. BootData.U32(4), .. BootData.U32(3)], "event 1: 3 digests in a log of 2 banks at byte 77." },
        { "a count of digests that overflows", [.. Head(), .. BootData.U32(0), .. BootData.U32(4), .. BootData.U32(uint.MaxValue)], "event 1: 4294967295 digests in a log of 2 banks at byte 77." },
        { "a digest of a bank that is not listed", [.. Head(), .. BootData.U32(0), .. BootData.U32(4), .. BootData.U32(1), .. BootData.U16(0x0C), .. new byte[48]], "event 1: a digest of algorithm 0x000c, which the first event does not list, at byte 81." },
        { "one bank twice", [.. Head(), .. BootData.U32(0), .. BootData.U32(4), .. BootData.U32(2), .. BootData.U16(4), .. new byte[20], .. BootData.U16(4), .. new byte[20]], "event 1: a second digest of algorithm 0x0004 at byte 103." },
        { "a size beyond the log", Frame(0, 4, 5), "event 1: 5 bytes wanted, 4 left, at byte 107." },
        { "a size that is negative as an int", Frame(0, 4, 0x8000_0000), "event 1: event data of 2147483648 bytes, 1048576 at most, at byte 103." },
        { "a size that overflows", Frame(0, 4, uint.MaxValue), "event 1: event data of 4294967295 bytes, 1048576 at most, at byte 103." },
        { "a tail", [.. Good, 0], "event 36: 4 bytes wanted, 1 left," },
        { "no banks", SpecId(0, []), "event 0: a Spec ID event that cannot be read (0 banks, 1 to 16 are expected, at byte 24) at byte 0." },
        { "a count of banks that overflows", SpecId(uint.MaxValue, []), "event 0: a Spec ID event that cannot be read (4294967295 banks, 1 to 16 are expected, at byte 24) at byte 0." },
        { "a bank twice", SpecId(2, [4, 0, 20, 0, 4, 0, 20, 0]), "event 0: a Spec ID event that cannot be read (algorithm 0x0004 a second time at byte 32) at byte 0." },
        { "SHA-256 of 20 bytes", SpecId(1, [11, 0, 20, 0]), "event 0: a Spec ID event that cannot be read (digests of 20 bytes for algorithm 0x000b at byte 28) at byte 0." },
        { "an unknown algorithm of no bytes", SpecId(1, [0x77, 0, 0, 0]), "event 0: a Spec ID event that cannot be read (digests of 0 bytes for algorithm 0x0077 at byte 28) at byte 0." },
        { "an unknown algorithm of 65 bytes", SpecId(1, [0x77, 0, 65, 0]), "event 0: a Spec ID event that cannot be read (digests of 65 bytes for algorithm 0x0077 at byte 28) at byte 0." },
        { "vendor bytes beyond the event", SpecId(1, [4, 0, 20, 0], vendor: 1), "event 0: a Spec ID event that cannot be read (1 bytes wanted, 0 left, at byte 33) at byte 0." },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void What_is_no_log_is_refused_at_its_place(string what, byte[] log, string expected)
    {
        Assert.False(BootLog.TryParse(log, out var parsed, out var error), what);
        Assert.Null(parsed);
        Assert.Contains(expected, error, StringComparison.Ordinal);
    }

    [Fact]
    public void An_algorithm_that_this_system_does_not_compute_is_carried_along()
    {
        byte[] log = [.. SpecId(2, [0x12, 0, 32, 0, 11, 0, 32, 0]), .. BootData.U32(7), .. BootData.U32(4), .. BootData.U32(2), 0x12, 0, .. new byte[32], 11, 0, .. new byte[32], .. BootData.U32(4), 0, 0, 0, 0];
        Assert.Equal([TpmAlgorithm.Sm3, TpmAlgorithm.Sha256], Parse(log).Banks);
    }

    [Fact]
    public void A_remark_may_be_of_no_PCR()
    {
        var log = new BootLogBuilder(TpmAlgorithm.Sha256).Remark(-1, BootData.Sp800155Form2());
        Assert.Equal(-1, Parse(log.Build()).Events[1].Pcr);
    }

    [Fact]
    public void A_hundred_megabytes_are_refused_at_once()
    {
        var huge = new byte[100 << 20];
        Good.CopyTo(huge, 0);
        var start = TimeProvider.System.GetTimestamp();
        Assert.False(BootLog.TryParse(huge, out _, out var error));
        Assert.Equal("The boot log has 104857600 bytes; 16777216 at most are read.", error);
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(1));
    }

    [Fact]
    public void No_more_events_are_read_than_a_log_may_have()
    {
        Assert.False(BootLog.TryParse(new byte[BootLog.MaxBytes], out _, out var error)); // half a million events of nothing
        Assert.StartsWith("The boot log cannot be read: event 65536: more than 65536 events at byte ", error, StringComparison.Ordinal);
        Assert.True(BootLog.TryParse(new byte[32 * BootLog.MaxEvents], out var log, out _));
        Assert.Equal(BootLog.MaxEvents, log.Events.Length);
    }

    public static TheoryData<string, uint, byte[]> Costly => new()
    {
        { "device path nodes", BootEventTypes.BootServicesApplication, BootData.Image([.. Enumerable.Repeat(BootData.Node(1, 1), 63).SelectMany(static n => n), .. BootData.EndNode]) },
        { "tagged items", BootEventTypes.EventTag, [.. Enumerable.Repeat(BootData.Tagged(1, []), 60_000).SelectMany(static n => n)] },
        { "signatures of a byte", BootEventTypes.VariableDriverConfig, BootData.Variable(EfiGuids.ImageSecurityDatabase, "dbx", BootData.List(Guid.Empty, [.. Enumerable.Repeat(BootData.Signature("x"u8), 60_000)])) },
        { "text that is none", BootEventTypes.Ipl, [0xFF, 0xFE, 0xFF] },
        { "paths of a boot option", BootEventTypes.VariableBoot, BootData.Variable(EfiGuids.GlobalVariable, "Boot0000", BootData.LoadOption("x", [.. Enumerable.Repeat(BootData.EndNode, 64).SelectMany(static n => n)])) },
    };

    [Theory]
    [MemberData(nameof(Costly))]
    public void A_log_full_of_small_things_costs_a_few_times_its_size(string what, uint type, byte[] data)
    {
        var log = new BootLogBuilder();
        var count = Math.Max(1, (BootLog.MaxBytes / 8) / (32 + data.Length));
        log.Add(0, type, data);
        for (var i = 1; i < count; i++)
            log.Events.Add(log.Events[0]);
        var bytes = log.Build();
        var (before, start) = (GC.GetAllocatedBytesForCurrentThread(), TimeProvider.System.GetTimestamp());
        Assert.True(BootLog.TryParse(bytes, out var parsed, out var error), error);
        var used = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(used < 32L * bytes.Length, $"{what}: {used} bytes for {bytes.Length}");
        Assert.True(TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromSeconds(20), what);
        Assert.Equal(count, parsed.Events.Length);
    }

    [Fact]
    public void Any_bytes_are_a_log_or_an_error_and_a_log_is_written_as_it_was() =>
        Gen.Byte.Array[0, 400].Sample(static bytes => RoundTrips(bytes));

    [Fact]
    public void A_log_with_any_bytes_changed_is_a_log_or_an_error()
    {
        var change = Gen.Select(Gen.Int[0, Good.Length - 1], Gen.Byte);
        Gen.Select(Gen.Bool, change.Array[1, 4]).Sample(static (agile, changes) =>
        {
            byte[] log = agile ? [.. Good] : [.. Legacy];
            foreach (var (at, value) in changes)
                log[at % log.Length] = value;
            return RoundTrips(log);
        });
    }

    [Fact]
    public void Data_of_every_type_are_read_or_are_malformed_or_unknown()
    {
        uint[] types = [.. Enumerable.Range(0, 0x14).Select(static t => (uint)t), .. Enumerable.Range(0, 0x11).Select(static t => 0x8000_0000 + (uint)t), 0x8000_00E0, 0x8000_00E1, 0x8000_00E3];
        byte[][] seeds = [.. Seeds()];
        var changed =
            from seed in Gen.Int[0, seeds.Length - 1]
            from at in Gen.Int[0, seeds[seed].Length - 1]
            from value in Gen.Byte
            from length in Gen.Int[0, seeds[seed].Length]
            select ((byte[])[.. seeds[seed][..at], value, .. seeds[seed][(at + 1)..]])[..length];
        Gen.Select(Gen.Int[0, types.Length - 1], Gen.Int[0, 14], Gen.OneOf(Gen.Byte.Array[0, 200], changed)).Sample((type, pcr, data) =>
        {
            var one = Assert.Single(Parse(new BootLogBuilder(TpmAlgorithm.Sha256).Add(pcr, types[type], data).Build()).Events.Skip(1));
            Assert.NotNull(one.UntrustedData.ToString());
            if (one.UntrustedData is BootEventData.ImageLoad image)
                Assert.NotNull(image.Path.ToString());
        }, iter: 5_000);
    }

    // The data of a usual log: what a change of one byte comes near to.
    private static IEnumerable<byte[]> Seeds() =>
        [.. Parse(Good).Events.Select(static e => e.Data.ToArray()).Where(static d => d.Length > 0), BootData.Sp800155Form2(), BootData.StartupLocality(3), BootData.Tagged(1, "x"u8), BootData.Blob2("x", 1, 2)];

    private static bool RoundTrips(byte[] bytes) =>
        BootLog.TryParse(bytes, out var log, out var error)
            ? error is null && BootLogBuilder.From(log).Build().AsSpan().SequenceEqual(bytes)
            : log is null && error.Length > 0;

    private static BootLog Parse(byte[] log)
    {
        Assert.True(BootLog.TryParse(log, out var parsed, out var error), error);
        return parsed;
    }

    // Where an event ends: the only places where a log may be cut.
    private static HashSet<int> Boundaries(byte[] whole)
    {
        var log = BootLogBuilder.From(Parse(whole));
        var ends = new HashSet<int>();
        while (log.Events.Count > 1)
        {
            log.Events.RemoveAt(log.Events.Count - 1);
            ends.Add(log.Build().Length);
        }

        return ends;
    }

    private static byte[] Head() => SpecId(2, [4, 0, 20, 0, 11, 0, 32, 0]);

    private static byte[] Frame(uint pcr, uint type, uint size) =>
        [.. Head(), .. BootData.U32(pcr), .. BootData.U32(type), .. BootData.U32(1), 4, 0, .. new byte[20], .. BootData.U32(size), 0, 0, 0, 0];

    private static byte[] SpecId(uint count, byte[] banks, byte vendor = 0)
    {
        byte[] data = [.. "Spec ID Event03\0"u8, 0, 0, 0, 0, 0, 2, 0, 2, .. BootData.U32(count), .. banks, vendor];
        return [.. BootData.U32(0), .. BootData.U32(3), .. new byte[20], .. BootData.U32((uint)data.Length), .. data];
    }
}

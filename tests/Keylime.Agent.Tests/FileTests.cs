using System.Text;
using CsCheck;
using Keylime.Tpm;

namespace Keylime.Agent.Tests;

/// <summary>What the agent reads and keeps.</summary>
public sealed class FileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("agent-files-").FullName;

    private string ListPath => Path.Combine(_folder, "list");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Any_part_of_a_growing_list_is_given_as_it_is()
    {
        var lines = Gen.Byte.Where(b => b != (byte)'\n').Array[0, 200];
        Gen.Select(lines.Array[1, 60], Gen.Int[1, 60], Gen.Int[0, 60], Gen.Int[0, 60]).Sample((all, grow, a, b) =>
        {
            var path = Path.Combine(_folder, Guid.NewGuid().ToString("N"));
            byte[] text = [.. all.SelectMany(l => (byte[])[.. l, (byte)'\n'])];
            using (var file = new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.ReadWrite))
            using (var list = ImaLogFile.Open(path))
            {
                // It grows by pieces that end anywhere, between two looks.
                for (var at = 0; at < text.Length;)
                {
                    var piece = Math.Min(grow * 7, text.Length - at);
                    file.Write(text, at, piece);
                    file.Flush();
                    at += piece;
                    Assert.Equal(text.AsSpan(0, at).Count((byte)'\n'), list.Refresh());
                }

                var (from, to) = (Math.Min(a, b) % (all.Length + 1), Math.Max(a, b) % (all.Length + 1));
                (from, to) = (Math.Min(from, to), Math.Max(from, to));
                byte[] got = [.. list.ReadLines(from, to).SelectMany(c => c.ToArray())];
                byte[] expected = [.. all[from..to].SelectMany(l => (byte[])[.. l, (byte)'\n'])];
                Assert.Equal(expected, got);
            }

            File.Delete(path);
        }, iter: 300, threads: 1);
    }

    [Fact]
    public void A_long_list_is_read_once_and_then_only_at_its_end()
    {
        var line = Encoding.ASCII.GetBytes("10 0123456789012345678901234567890123456789 ima-ng sha256:00 /usr/bin/x\n");
        using (var file = File.Create(ListPath))
        {
            for (var i = 0; i < 50_000; i++)
                file.Write(line);
        }

        using var list = ImaLogFile.Open(ListPath);
        Assert.Equal(50_000, list.Refresh());
        var first = list.BytesRead;
        File.AppendAllText(ListPath, Encoding.ASCII.GetString(line));
        Assert.Equal(50_001, list.Refresh());
        Assert.Equal(line.Length, list.ReadLines(50_000, 50_001).Sum(c => c.Length));
        Assert.InRange(list.BytesRead - first, line.Length, 3 * line.Length);
    }

    [Theory]
    [InlineData("/proc/filesystems")]
    [InlineData("/proc/devices")]
    public void A_list_of_the_kernel_tells_no_length_and_is_read_all_the_same(string path)
    {
        // The same kind of file as ascii_runtime_measurements: a seq_file, of length 0, whose content is made as it is read.
        Assert.Equal(0, new FileInfo(path).Length);
        using var list = ImaLogFile.Open(path);
        var lines = File.ReadAllText(path);
        Assert.Equal(lines.Count(c => c == '\n'), list.Refresh());
        Assert.Equal(lines, Encoding.ASCII.GetString([.. list.ReadLines(0, list.Lines).SelectMany(c => c.ToArray())]));
        var third = lines.Split('\n')[2] + "\n";
        Assert.Equal(third, Encoding.ASCII.GetString([.. list.ReadLines(2, 3).SelectMany(c => c.ToArray())]));
    }

    [Fact]
    public void Events_of_a_recorded_boot_are_counted_without_the_first()
    {
        var request = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "evidence", "upstream", "08.req"));
        var json = System.Text.Json.Nodes.JsonNode.Parse(request[(request.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..])!;
        var log = Convert.FromBase64String(json["data"]!["attributes"]!["evidence_collected"]![1]!["data"]!["entries"]!.GetValue<string>());
        Assert.Equal(112 - 1, UefiLog.CountEvents(log)); // the first says how the others are written, and upstream does not count it
        Assert.Equal(0, UefiLog.CountEvents(log.AsSpan(0, log.Length - 1))); // one event is not whole: then none is told
        for (var length = 0; length < 200; length++)
            Assert.InRange(UefiLog.CountEvents(log.AsSpan(0, length)), 0, 3);
    }

    [Fact]
    public void A_line_without_its_end_is_not_there_yet()
    {
        File.WriteAllText(ListPath, "a\nb");
        using var list = ImaLogFile.Open(ListPath);
        Assert.Equal(1, list.Refresh());
        File.AppendAllText(ListPath, "c\n");
        Assert.Equal(2, list.Refresh());
        Assert.Equal("bc\n", Encoding.ASCII.GetString([.. list.ReadLines(1, 2).SelectMany(c => c.ToArray())]));
    }

    [Fact]
    public void A_list_that_became_shorter_is_another_one()
    {
        File.WriteAllText(ListPath, "a\nb\nc\n");
        using var list = ImaLogFile.Open(ListPath);
        Assert.Equal(3, list.Refresh());
        using (var file = new FileStream(ListPath, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(0);
            file.Write("x\n"u8);
        }

        Assert.Equal(1, list.Refresh());
        Assert.Equal("x\n", Encoding.ASCII.GetString([.. list.ReadLines(0, 1).SelectMany(c => c.ToArray())]));
    }

    [Fact]
    public void A_list_that_is_not_there_has_no_lines()
    {
        using var list = ImaLogFile.Open(ListPath);
        Assert.False(list.Exists);
        Assert.Equal(0, list.Refresh());
    }

    [Fact]
    public void CVE_2022_23952_GHSA_fchm_5w2v_qfm8_the_key_is_kept_for_its_owner_only_and_whole()
    {
        var path = Path.Combine(_folder, "agent_data.json");
        var scheme = new KeyScheme(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha256);
        var data = AgentData.Create(scheme, KeyTemplates.AkRsa2048(), [1, 2, 255], "abc");
        data.Save(path);
        data.Save(path);

        Assert.Equal((UnixFileMode)0b110_000_000, File.GetUnixFileMode(path));
        Assert.Single(Directory.GetFiles(_folder));
        var read = AgentData.Load(path)!;
        Assert.True(read.Fits(scheme, "abc"));
        Assert.False(read.Fits(scheme, "abd"));
        Assert.False(read.Fits(new KeyScheme(TpmAlgorithm.RsaPss, TpmAlgorithm.Sha256), "abc"));
        Assert.True(read.TryRead(out var area, out var secret));
        Assert.Equal(KeyTemplates.AkRsa2048().Encode(), area!.Encode());
        Assert.Equal([1, 2, 255], secret);
    }

    [Fact]
    public void A_state_folder_that_others_may_enter_is_closed()
    {
        File.SetUnixFileMode(_folder, (UnixFileMode)0b111_101_101);
        AgentData.CloseFolder(_folder);
        Assert.Equal((UnixFileMode)0b111_000_000, File.GetUnixFileMode(_folder));
        AgentData.CloseFolder(_folder);
        Assert.Equal((UnixFileMode)0b111_000_000, File.GetUnixFileMode(_folder));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{}")]
    [InlineData("null")]
    [InlineData("""{"ak_hash_alg":"Sha256","ak_sign_alg":"RsaSsa","ak_public":null,"ak_private":[],"ek_hash":[]}""")]
    public void CVE_2022_23952_GHSA_fchm_5w2v_qfm8_a_damaged_key_file_is_no_key_and_is_closed(string text)
    {
        var path = Path.Combine(_folder, "agent_data.json");
        File.WriteAllText(path, text);
        Assert.Null(AgentData.Load(path));
        Assert.Equal((UnixFileMode)0b110_000_000, File.GetUnixFileMode(path)); // closed, whatever it was
    }

    [Fact]
    public void Pauses_grow_to_a_bound_and_never_end_before_what_the_service_asks()
    {
        var backoff = new Backoff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(60), new Random(1));
        for (var i = 0; i < 40; i++)
        {
            var most = TimeSpan.FromSeconds(Math.Min(60, Math.Pow(2, i)));
            Assert.InRange(backoff.Next(null), most / 2, most);
        }

        Assert.InRange(backoff.Next(TimeSpan.FromSeconds(90)), TimeSpan.FromSeconds(90), TimeSpan.FromSeconds(91));
        Assert.InRange(backoff.Next(TimeSpan.FromDays(9)), TimeSpan.FromHours(1), TimeSpan.FromHours(1.1)); // nobody silences it for days
        backoff.Reset();
        Assert.InRange(backoff.Next(null), TimeSpan.FromSeconds(0.5), TimeSpan.FromSeconds(1));
    }
}

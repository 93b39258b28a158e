using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Attestation;
using Keylime.Testing;

namespace Keylime.Tenant.Tests;

/// <summary><c>keylime policy create runtime</c>: every source, on small real things, and on bad ones.</summary>
public sealed class CreateRuntimeTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static string Sha256(string content) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(content)));

    [Fact]
    public async Task A_root_is_listed_but_its_links_and_volatile_folders()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        Write(bench, "root/usr/bin/tool", "tool");
        Write(bench, "root/usr/share/with space", "text");
        Write(bench, "root/usr/share/empty", "");
        Write(bench, "root/var/log/x", "no");
        Write(bench, "root/opt/skipped/x", "no");
        File.CreateSymbolicLink(bench.PathOf("root/usr/bin/link"), "tool");
        var made = await bench.RunAsync("policy", "create", "runtime", "--rootfs", bench.PathOf("root"), "--skip", "/opt/skipped");
        Assert.Equal((0, ""), (made.Exit, made.Error));
        var digests = Digests(made.Out);
        Assert.Equal(["/usr/bin/tool", "/usr/share/empty", "/usr/share/with_space"], digests.Select(d => d.Key));
        Assert.Equal([Sha256("tool"), Sha256(""), Sha256("text")], digests.Select(d => d.Value![0]!.GetValue<string>()));
        Assert.Equal(made.Out, (await bench.RunAsync("policy", "create", "runtime", "--rootfs", bench.PathOf("root"), "--skip", "/opt/skipped")).Out);
    }

    [Fact]
    public async Task A_dpkg_tree_gives_paths_packages_and_what_was_changed()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        Write(bench, "root/usr/bin/good", "good");
        Write(bench, "root/usr/bin/bad", "changed");
        Write(bench, "root/usr/bin/diverted.real", "diverted");
        Directory.CreateSymbolicLink(bench.PathOf("root/bin"), "usr/bin");
        Write(bench, "root/var/lib/dpkg/status", "Package: p\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.2-3\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n");
        Write(bench, "root/var/lib/dpkg/diversions", "/bin/diverted\n/bin/diverted.real\nother\n");
        Write(bench, "root/var/lib/dpkg/info/p.list", "/.\n/bin\n/bin/good\n/bin/bad\n/bin/diverted\n/bin/absent\n");
        Write(bench, "root/var/lib/dpkg/info/p.md5sums", $"{Md5("good")}  bin/good\n{Md5("bad")}  bin/bad\n{Md5("diverted")}  bin/diverted\n");

        var made = await bench.RunAsync("policy", "create", "runtime", "--dpkg", bench.PathOf("root"));
        Assert.Equal("warning: /usr/bin/bad is not as p 1.2-3 brought it: it is left out (--allow-changed lists it)\n", made.Error);
        Assert.Equal(["/usr/bin/diverted.real", "/usr/bin/good"], Digests(made.Out).Select(d => d.Key));
        var package = JsonNode.Parse(made.Out)!["provenance"]!["p"]!;
        Assert.Equal(("1.2-3", "dpkg amd64", 2), (package["version"]!.GetValue<string>(), package["origin"]!.GetValue<string>(), package["files"]!.AsArray().Count));
        Assert.Equal(3, Digests((await bench.RunAsync("policy", "create", "runtime", "--dpkg", bench.PathOf("root"), "--allow-changed")).Out).Count);
    }

    [Theory]
    [InlineData("none")]
    [InlineData("gzip")]
    [InlineData("xz")]
    [InlineData("zstd")]
    [InlineData("lz4")]
    [InlineData("bzip2")]
    public async Task An_initial_RAM_disk_is_unpacked(string kind)
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var main = bench.PathOf("main");
        await File.WriteAllBytesAsync(main, Cpio(("./usr/bin/busybox", 0x81ED, "box"), ("usr/bin", 0x41ED, ""), ("init", 0xA1FF, "usr/bin/busybox")), Cancel);
        if (kind == "gzip")
            await using (var packed = new GZipStream(File.Create(main + ".packed"), CompressionMode.Compress))
                packed.Write(await File.ReadAllBytesAsync(main, Cancel));
        else if (kind == "none")
            File.Copy(main, main + ".packed");
        else
            await ToolProcess.RunAsync(kind, bench.Folder, kind == "lz4" ? ["-q", "-l", main, main + ".packed"] : kind == "zstd" ? ["-q", main, "-o", main + ".packed"] : kind == "xz" ? ["-k", "-S", ".packed", main] : ["-k", main], null);
        if (kind == "bzip2")
            File.Move(main + ".bz2", main + ".packed");
        var early = Cpio(("kernel/x86/microcode/GenuineIntel.bin", 0x81A4, "microcode"));
        await File.WriteAllBytesAsync(bench.PathOf("initrd"), [.. early, .. new byte[512], .. await File.ReadAllBytesAsync(main + ".packed", Cancel)], Cancel);

        var made = await bench.RunAsync("policy", "create", "runtime", "--initrd", bench.PathOf("initrd"));
        Assert.Equal((0, ""), (made.Exit, made.Error));
        Assert.Equal(
            [("/kernel/x86/microcode/GenuineIntel.bin", Sha256("microcode")), ("/usr/bin/busybox", Sha256("box"))],
            Digests(made.Out).Select(d => (d.Key, d.Value![0]!.GetValue<string>())));
    }

    [Fact]
    public async Task A_bad_RAM_disk_or_package_writes_nothing()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var good = Cpio(("a", 0x81A4, "data"));
        var huge = (byte[])good.Clone();
        Encoding.ASCII.GetBytes("ffffffff").CopyTo(huge, 6 + 8 * 11);
        var rpm = Rpm(new string('a', 64));
        foreach (var (source, bytes) in ((string, byte[])[])[
            ("--initrd", good[..100]), ("--initrd", good[..^8]), ("--initrd", huge), ("--initrd", Cpio(("../../etc/passwd", 0x81A4, "x"))), ("--initrd", "nonsense"u8.ToArray()),
            ("--initrd", []), ("--initrd", [0xFD, .. "7zXZ"u8, 0, 1, 2, 3]), ("--initrd", [0x1F, 0x8B, 8, 0, 1, 2, 3]),
            ("--rpm", rpm[..50]), ("--rpm", rpm[..^20]), ("--rpm", [.. rpm[..^1], 1]), ("--rpm", [.. rpm[..104], 0xFF, 0xFF, 0xFF, 0xFF, .. rpm[108..]]),
            ("--allowlist", "abc /x\n"u8.ToArray()), ("--allowlist", []), ("--allowlist", "{\"hashes\":{\"/x\":[1]}}"u8.ToArray())])
        {
            await File.WriteAllBytesAsync(bench.PathOf("bad"), bytes, Cancel);
            var made = await bench.RunAsync("policy", "create", "runtime", source, bench.PathOf("bad"), "--out", bench.PathOf("policy.json"));
            Assert.Equal(Exits.Usage, made.Exit);
        }

        foreach (var source in (string[])["--rootfs", "--dpkg", "--rpm", "--initrd", "--ima-log", "--allowlist", "--base", "--exclude-file", "--verification-key"])
            Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "create", "runtime", source, bench.PathOf("absent"), "--out", bench.PathOf("policy.json"))).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "create", "runtime", "--out", bench.PathOf("policy.json"))).Exit);
        Assert.DoesNotContain(Directory.GetFiles(bench.Folder), f => f.Contains("policy.json", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_package_of_RPM_is_read_from_its_header()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        await File.WriteAllBytesAsync(bench.PathOf("p.rpm"), Rpm(Sha256("tool")), Cancel);
        var made = await bench.RunAsync("policy", "create", "runtime", "--rpm", bench.PathOf("p.rpm"));
        Assert.Equal((0, ""), (made.Exit, made.Error));
        Assert.Equal(Sha256("tool"), Assert.Single(Digests(made.Out), d => d.Key == "/usr/bin/tool").Value![0]!.GetValue<string>());
        Assert.Equal("3:1.0-2", JsonNode.Parse(made.Out)!["provenance"]!["tool"]!["version"]!.GetValue<string>());
    }

    [Fact]
    public async Task Lists_of_checksums_in_all_their_forms_and_into_a_base()
    {
        await using var bench = await Bench.StartAsync(_ => (500, ""));
        var (a, b, c, d) = (Sha256("a"), Sha256("b"), Sha256("c"), Sha256("d"));
        await File.WriteAllTextAsync(bench.PathOf("list"), $"# comment\n{a}  /a\n{b} */b\n{c.ToUpperInvariant()}  ./c\nSHA256 (/d) = {d}\n{a}  %keyring:.ima\n", Cancel);
        await File.WriteAllTextAsync(bench.PathOf("json"), $$$"""{"hashes":{"/j":["{{{a}}}"]},"ima":{"ignored_keyrings":[".x"]}}""", Cancel);
        await File.WriteAllTextAsync(bench.PathOf("base"), (await bench.RunAsync("policy", "create", "runtime", "--allowlist", bench.PathOf("json"))).Out, Cancel);
        await File.WriteAllTextAsync(bench.PathOf("excludes"), "# one\n/tmp/.*\n\n", Cancel);
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        await File.WriteAllTextAsync(bench.PathOf("key"), key.ExportSubjectPublicKeyInfoPem(), Cancel);

        var made = await bench.RunAsync(
            "policy", "create", "runtime", "--base", bench.PathOf("base"), "--allowlist", bench.PathOf("list"), "--exclude-file", bench.PathOf("excludes"), "--exclude", "/run/.*",
            "--verification-key", bench.PathOf("key"), "--class-rule", "memfd=allow:containers", "--violation-budget", "3", "--ignored-keyring", ".y", "--out", bench.PathOf("policy"), "--json");
        Assert.Equal(0, made.Exit);
        Assert.Equal((5, 2), (JsonNode.Parse(made.Out)!["paths"]!.GetValue<int>(), JsonNode.Parse(made.Out)!["excludes"]!.GetValue<int>()));
        Assert.True(RuntimePolicyDocument.TryParse(await File.ReadAllBytesAsync(bench.PathOf("policy"), Cancel), out var policy, out var error), error);
        Assert.Equal(["/a", "/b", "/c", "/d", "/j"], policy.Digests.Keys);
        Assert.Equal([a], policy.Keyrings[".ima"]);
        Assert.Equal([".x", ".y"], policy.IgnoredKeyrings);
        Assert.Equal((3, "allow", "containers"), (policy.Violations!.Budget, policy.ClassRules["memfd"].Mode, policy.ClassRules["memfd"].Reason));
        Assert.True(Keyring.TryFromPolicy(policy.VerificationKeys, out var ring, out error), error);
        Assert.Single(ring.Keys);

        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "create", "runtime", "--allowlist", bench.PathOf("list"), "--class-rule", "memfd=check")).Exit);
        Assert.Equal(Exits.Usage, (await bench.RunAsync("policy", "create", "runtime", "--allowlist", bench.PathOf("list"), "--exclude", "(")).Exit);
    }

    [Fact]
    public async Task Measurement_lists_in_both_forms_with_keys_and_buffers_and_of_a_node()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var der = key.ExportSubjectPublicKeyInfo();
        var hash = new string('1', 40);
        var text = $"10 {hash} ima-ng sha256:{Sha256("a")} /a\n10 {hash} ima-buf sha256:{Convert.ToHexStringLower(SHA256.HashData(der))} .ima {Convert.ToHexStringLower(der)}\n"
            + $"10 {hash} ima-buf sha256:{Sha256("cmd")} kexec-cmdline {Convert.ToHexStringLower("cmd"u8)}\n";
        await using var bench = await Bench.StartAsync(r => r == "GET /v1/nodes/n/measurement-list" ? (200, text) : (404, Bench.Problem(404, "no")));
        foreach (var with in (bool[])[false, true])
        {
            var made = await bench.RunAsync(["policy", "create", "runtime", "--node", "n", .. with ? (string[])["--keyrings", "--ima-buf"] : []]);
            Assert.Equal(0, made.Exit);
            Assert.Equal(["/a"], Digests(made.Out).Select(d => d.Key));
            Assert.Equal((with ? 1 : 0, with ? 1 : 0), (JsonNode.Parse(made.Out)!["keyrings"]!.AsObject().Count, JsonNode.Parse(made.Out)!["ima-buf"]!.AsObject().Count));
        }

        byte[] digest = [.. "sha256:\0"u8, .. SHA256.HashData("a"u8)], name = [.. "/b\0"u8];
        bench.In = [.. Little(10), .. new byte[19], 1, .. Little(6), .. "ima-ng"u8, .. Little(4 + digest.Length + 4 + name.Length), .. Little(digest.Length), .. digest, .. Little(name.Length), .. name];
        var binary = await bench.RunAsync("policy", "create", "runtime", "--ima-log", "-");
        Assert.Equal(Sha256("a"), Digests(binary.Out)["/b"]![0]!.GetValue<string>());

        bench.In = Encoding.ASCII.GetBytes($"10 {new string('1', 64)} ima-ng sha256:{Sha256("a")} /a\n");
        Assert.Equal("sha256", JsonNode.Parse((await bench.RunAsync("policy", "make", "--from-log", "-")).Out)!["ima"]!["log_hash_alg"]!.GetValue<string>());
    }

    private static JsonObject Digests(string policy)
    {
        Assert.True(RuntimePolicy.TryParse(Encoding.UTF8.GetBytes(policy), out var parsed, out var error), error);
        Assert.Empty(parsed.Warnings);
        return JsonNode.Parse(policy)!["digests"]!.AsObject();
    }

    private static void Write(Bench bench, string path, string content)
    {
        var file = bench.PathOf(path);
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.WriteAllText(file, content);
    }

#pragma warning disable CA5351 // dpkg keeps MD5
    private static string Md5(string content) => Convert.ToHexStringLower(MD5.HashData(Encoding.UTF8.GetBytes(content)));
#pragma warning restore CA5351

    private static byte[] Little(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return bytes;
    }

    private static byte[] Big(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }

    private static byte[] Cpio(params (string Name, int Mode, string Data)[] entries)
    {
        using var all = new MemoryStream();
        foreach (var (i, (name, mode, data)) in entries.Append(("TRAILER!!!", 0, "")).Index())
        {
            int[] fields = [i, mode, 0, 0, 1, 0, data.Length, 0, 0, 0, 0, name.Length + 1, 0];
            all.Write(Encoding.ASCII.GetBytes("070701" + string.Concat(fields.Select(f => f.ToString("x8", CultureInfo.InvariantCulture))) + name + "\0"));
            all.Write(new byte[(4 - all.Length % 4) % 4]);
            all.Write(Encoding.ASCII.GetBytes(data));
            all.Write(new byte[(4 - all.Length % 4) % 4]);
        }

        return all.ToArray();
    }

    // A package "tool" with a file, a folder and a ghost.
    private static byte[] Rpm(string digest)
    {
        byte[] Strings(params string[] values) => Encoding.ASCII.GetBytes(string.Concat(values.Select(v => v + "\0")));
        var header = Header(
            (1000, 6, 1, Strings("tool")), (1001, 6, 1, Strings("1.0")), (1002, 6, 1, Strings("2")), (1003, 4, 1, Big(3)), (1022, 6, 1, Strings("x86_64")),
            (1030, 3, 3, [0x81, 0xED, 0x41, 0xED, 0x81, 0xA4]), (1035, 8, 3, Strings(digest, "", digest)), (1037, 4, 3, [.. Big(0), .. Big(0), .. Big(64)]),
            (1116, 4, 3, [.. Big(0), .. Big(0), .. Big(1)]), (1117, 8, 3, Strings("tool", "folder", "ghost")), (1118, 8, 2, Strings("/usr/bin/", "/var/")));
        var signature = Header((273, 6, 1, Strings(Convert.ToHexStringLower(SHA256.HashData(header)))));
        return [0xED, 0xAB, 0xEE, 0xDB, .. new byte[92], .. signature, .. new byte[(8 - signature.Length % 8) % 8], .. header];
    }

    private static byte[] Header(params (int Tag, int Type, int Count, byte[] Data)[] tags)
    {
        using var index = new MemoryStream();
        using var store = new MemoryStream();
        foreach (var (tag, type, count, data) in tags)
        {
            store.Write(new byte[(4 - store.Length % 4) % 4]);
            index.Write([.. Big(tag), .. Big(type), .. Big((int)store.Length), .. Big(count)]);
            store.Write(data);
        }

        return [0x8E, 0xAD, 0xE8, 1, 0, 0, 0, 0, .. Big(tags.Length), .. Big((int)store.Length), .. index.ToArray(), .. store.ToArray()];
    }
}

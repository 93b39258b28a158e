using System.Text;

namespace Keylime.Attestation.Tests;

/// <summary>Patterns of Python's dialect: what they match, what is refused and where, and that time is linear in the text.</summary>
public static class PatternTests
{
    [Theory]
    [InlineData("/tmp", "/tmp/x", true)] // a prefix is a match
    [InlineData("/tmp", "/var/tmp", false)]
    [InlineData("/tmp$", "/tmp/x", false)]
    [InlineData("/tmp$", "/tmp\n", true)] // in front of a last line feed, as in Python
    [InlineData(@"/tmp\Z", "/tmp\n", false)]
    [InlineData(@"/tmp\z", "/tmp", true)]
    [InlineData("", "/anything", true)]
    [InlineData(".*", "", true)]
    [InlineData("/a.c", "/a\nc", false)]
    [InlineData("(?s)/a.c", "/a\nc", true)]
    [InlineData("(?P<dir>/tmp|/var)/x", "/var/x", true)]
    [InlineData("(?:/tmp|/var)/x", "/usr/x", false)]
    [InlineData("(?i)/TMP", "/tmp", true)]
    [InlineData("/(?i:TMP)/X", "/tmp/x", false)]
    [InlineData("(?i)/(?-i:TMP)/X", "/TMP/x", true)]
    [InlineData("(?x) /a   b # the rest\n c", "/abc", true)]
    [InlineData("(?x)[ ]\\ ", "  ", true)]
    [InlineData("/a{2}", "/aa", true)]
    [InlineData("/a{,2}b", "/b", true)] // Python's form, a brace elsewhere
    [InlineData("/a{,}b", "/aaaab", true)]
    [InlineData("/a{}", "/a{}", true)]
    [InlineData("/a{1", "/a{1", true)]
    [InlineData("/a{b}", "/a{b}", true)]
    [InlineData("/[]a]", "/]", true)]
    [InlineData("/[^]a]", "/]", false)]
    [InlineData("/[[:alpha:]]", "/:]", true)] // no classes by name: a set of [ : a l p h, and a bracket
    [InlineData("/[a-c&&[b]]", "/&]", true)]
    [InlineData("/[a-z-[b]]", "/b]", true)] // no subtraction
    [InlineData(@"/[\w]", "/_", true)]
    [InlineData(@"/\w", "/‿", false)] // a connector that is no underscore
    [InlineData(@"/[\W]", "/‿", true)]
    [InlineData(@"/\w", "/²", true)] // a number
    [InlineData(@"/\s", "/\u001c", true)]
    [InlineData(@"/[\S]", "/\u2003", false)]
    [InlineData(@"(?a)/\w", "/é", false)]
    [InlineData(@"/\d", "/٣", true)]
    [InlineData(@"/\x41\u0042\U00000043\101\0", "/ABCA\0", true)]
    [InlineData(@"/[\b]", "/\b", true)]
    [InlineData(@"/a\b", "/a b", true)]
    [InlineData(@"/a\B", "/a b", false)]
    [InlineData("/😀+x", "/😀😀x", true)]
    [InlineData("/[😀-😂].$", "/😁😀", true)]
    [InlineData(@"(?a)/é\b", "/é ", false)]
    [InlineData(@"/é\b", "/é ", true)]
    [InlineData("(?i)/STRASSE", "/ſtrasse", true)]
    [InlineData("(?i)/[^k]", "/\u212a", false)] // the sign of the kelvin
    [InlineData("(?ai)/K", "/\u212a", false)]
    [InlineData("/a(?#what it is)b", "/ab", true)]
    [InlineData("/a*?b", "/aab", true)]
    [InlineData("(?m)/a$\n^b", "/a\nb", true)]
    [InlineData(@"/\.\*\-\~\!", "/.*-~!", true)]
    [InlineData("(a|b)|c", "b", true)]
    public static void A_prefix_matches_as_in_Python(string pattern, string text, bool matches) =>
        Assert.Equal(matches, Create(pattern, PatternExtent.Prefix).Matches(Encoding.UTF8.GetBytes(text)));

    [Theory]
    [InlineData("test|test2", "test2", true)]
    [InlineData("test", "test2", false)]
    [InlineData("CRYPT-VERITY-.*", "CRYPT-VERITY-abc", true)]
    [InlineData("", "", true)]
    [InlineData("", "a", false)]
    [InlineData("a*", "aab", false)]
    [InlineData("a$", "a\n", false)]
    [InlineData("(?!ab)a.*", "ac", true)]
    [InlineData("(?!ab)a.*", "abc", false)]
    [InlineData("(?!ab)ac", "acd", false)]
    public static void The_whole_matches_as_in_Python(string pattern, string text, bool matches) =>
        Assert.Equal(matches, Create(pattern, PatternExtent.Whole).Matches(Encoding.UTF8.GetBytes(text)));

    [Theory]
    [InlineData("(?!/usr/).*", "/usr/bin/ls", false)]
    [InlineData("(?!/usr/).*", "/tmp/ls", true)]
    [InlineData("^(?!/usr/|/lib).*$", "/libx", false)]
    [InlineData("/tmp/(?!keep/).*", "/tmp/keep/x", false)]
    [InlineData("/tmp/(?!keep/).*", "/tmp/keeps", true)]
    [InlineData("/tmp/(?!keep/).*", "/var/x", false)]
    [InlineData("/a(?=b)..c", "/abxc", true)]
    [InlineData("/a(?=b)..c", "/axbc", false)]
    [InlineData("/(?:a|b)(?!x).y", "/bxy", false)]
    [InlineData("/(?:a|b)(?!x).y", "/bzy", true)]
    [InlineData("(?:(?!/a)|/ab).*", "/ab", true)]
    [InlineData("(?:(?!/a)|/ab).*", "/ac", false)]
    [InlineData("/(?!a(?!b))..", "/ab", true)] // a look-ahead in a look-ahead
    [InlineData("/(?!a(?!b))..", "/ac", false)]
    [InlineData("((?!/x)/(?!y).)$", "/z", true)]
    [InlineData("(?!/etc/secret$)/etc/.*", "/etc/secret", false)]
    [InlineData("(?!/etc/secret$)/etc/.*", "/etc/secrets", true)]
    [InlineData(@"(?!.*\.so$)/usr/lib/.*", "/usr/lib/a.so", false)]
    [InlineData(@"(?!.*\.so$)/usr/lib/.*", "/usr/lib/a.py", true)]
    public static void A_look_ahead_behind_a_fixed_width_is_a_condition(string pattern, string text, bool matches) =>
        Assert.Equal(matches, Create(pattern, PatternExtent.Prefix).Matches(Encoding.UTF8.GetBytes(text)));

    [Theory]
    [InlineData(@"/(a)\1", 4, "back reference")]
    [InlineData("/(?P<a>b)(?P=a)", 9, "back reference")]
    [InlineData("/a.*(?!b)", 4, "varying width")]
    [InlineData("/(?:(?!x).)*y", 1, "repeated")]
    [InlineData("/a(?<=b)", 2, "look-behind")]
    [InlineData("/a(?<!b)", 2, "look-behind")]
    [InlineData("/a++", 2, "possessive")]
    [InlineData("/a{1,2}+", 2, "possessive")]
    [InlineData("/(?>a)", 1, "atomic")]
    [InlineData("/(a)?(?(1)b|c)", 5, "depends on another")]
    [InlineData("/a{1000}{1000}", 8, "repetition of a repetition")]
    [InlineData("/(a{1000}){1000}", 10, "states")]
    [InlineData("/a{99999}", 2, "states")]
    [InlineData("/((a{90}){90}){90}", 14, "states")]
    [InlineData("/a**", 3, "repetition of a repetition")]
    [InlineData("*a", 0, "nothing is there to repeat")]
    [InlineData("^*", 1, "nothing is there to repeat")]
    [InlineData("(|*)", 2, "nothing is there to repeat")]
    [InlineData("/a{2,1}", 2, "at least 2 and at most 1")]
    [InlineData("/(a", 1, "without its )")]
    [InlineData("/a)", 2, "without its (")]
    [InlineData("/[a", 1, "without its ]")]
    [InlineData("/[]", 1, "without its ]")]
    [InlineData("/[b-a]", 2, "range")]
    [InlineData(@"/[\d-a]", 2, "range")]
    [InlineData("/a\\", 2, "backslash at the end")]
    [InlineData(@"/\q", 1, "is no escape")]
    [InlineData(@"/[\Z]", 2, "is no escape")]
    [InlineData(@"/\x4", 1, "hexadecimal")]
    [InlineData(@"/\N{DIGIT ONE}", 1, "by name")]
    [InlineData(@"/\777", 1, "octal")]
    [InlineData("/a(?i)b", 2, "belong to its start")]
    [InlineData("/(?<n>a)", 1, "no kind of group")]
    [InlineData("/(?P<1>a)", 1, "no name")]
    [InlineData("/(?P<a>b)(?P<a>c)", 9, "twice")]
    [InlineData("/(?#a", 4, "comment")]
    [InlineData(@"/\ud800", 1, "half of a surrogate pair")]
    public static void What_is_no_pattern_or_not_linear_is_refused_with_its_place(string pattern, int at, string why)
    {
        Assert.False(PatternList.TryCreate(["/good", pattern], PatternExtent.Prefix, "$.excludes", out _, out var error));
        Assert.StartsWith($"$.excludes[1], character {at}: ", error);
        Assert.Contains(why, error);
    }

    [Fact]
    public static void Bounds_are_named()
    {
        Assert.False(PatternList.TryCreate([.. Enumerable.Repeat("a", PatternList.MaxPatterns + 1)], PatternExtent.Prefix, "$.excludes", out _, out var many));
        Assert.Contains("10001 patterns", many);
        Assert.False(PatternList.TryCreate(new string('a', 17_000), PatternExtent.Prefix, "$.x", out _, out var length));
        Assert.Equal("$.x, character 16384: 17000 characters, 16384 at most.", length);
        Assert.False(PatternList.TryCreate(string.Concat(Enumerable.Repeat("(", 70)) + string.Concat(Enumerable.Repeat(")", 70)), PatternExtent.Prefix, "$.x", out _, out var depth));
        Assert.Contains("deeper than 64", depth);
        Assert.True(PatternList.TryCreate([], PatternExtent.Prefix, "$.x", out var none, out _));
        Assert.False(none.Matches("/a"u8));
        Assert.False(PatternList.Empty.Matches("/a"u8));
    }

    [Fact]
    public static void Bytes_that_are_no_text_count_as_one_character_each()
    {
        Assert.True(Create("/tmp/.$", PatternExtent.Prefix).Matches([.. "/tmp/"u8, 0xFF]));
        Assert.False(Create("/tmp/[a-z]", PatternExtent.Prefix).Matches([.. "/tmp/"u8, 0xFF]));
    }

    [Fact]
    public static void Ten_thousand_patterns_are_tried_by_what_they_start_with()
    {
        var start = TimeProvider.System.GetTimestamp();
        string[] patterns = [.. Enumerable.Range(0, PatternList.MaxPatterns).Select(i => $"/srv/app-{i}/(?:cache|tmp)/[^/]+\\.(?:log|lock)$")];
        Assert.True(PatternList.TryCreate(patterns, PatternExtent.Prefix, "$.excludes", out var list, out var error), error);
        var made = TimeProvider.System.GetElapsedTime(start);
        for (var i = 0; i < PatternList.MaxPatterns; i += 7)
        {
            Assert.True(list.Matches(Encoding.ASCII.GetBytes($"/srv/app-{i}/cache/x.log")));
            Assert.False(list.Matches(Encoding.ASCII.GetBytes($"/srv/app-{i}/cache/x.so")));
        }

        var elapsed = TimeProvider.System.GetElapsedTime(start);
        TestContext.Current.TestOutputHelper?.WriteLine($"made in {made}, matched in {elapsed - made}, {GC.GetTotalMemory(true) / 1024 / 1024} MiB");
        Assert.True(elapsed < TimeSpan.FromMinutes(2), $"{elapsed}"); // a second or two on a machine of its own
    }

    [Fact]
    public static void Ten_thousand_patterns_that_start_alike_are_tried_together()
    {
        string[] patterns = [.. Enumerable.Range(0, PatternList.MaxPatterns).Select(i => $"/.*/file-{i}$")];
        Assert.True(PatternList.TryCreate(patterns, PatternExtent.Prefix, "$.excludes", out var list, out var error), error);
        Assert.True(list.Matches("/a/b/file-9999"u8));
        Assert.False(list.Matches("/a/b/file-10000"u8));
    }

    [Fact]
    public static void A_pattern_of_ten_kilobytes_is_matched()
    {
        var words = string.Join('|', Enumerable.Range(0, 1100).Select(i => $"word{i:x4}"));
        Assert.InRange(words.Length, 9_000, 16_000);
        var list = Create($"/opt/(?:{words})", PatternExtent.Prefix);
        Assert.True(list.Matches("/opt/word044b"u8));
        Assert.False(list.Matches("/opt/word044c"u8));
        Assert.True(Create(new string('a', 10_000), PatternExtent.Whole).Matches(Encoding.ASCII.GetBytes(new string('a', 10_000))));
    }

    [Theory]
    [InlineData("(a+)+$")]
    [InlineData("(a|a)*$")]
    [InlineData("(a*)*b")]
    [InlineData("(.*a){12}$")]
    [InlineData("(a?){200}a{200}$")]
    [InlineData("(?!.*(a|aa)+$)a*")]
    [InlineData("a*a*a*a*a*a*a*a*$")]
    [InlineData("(a|b|ab)*(?:c|d)")]
    public static void Time_grows_with_the_text_and_no_faster(string pattern)
    {
        var list = Create(pattern, PatternExtent.Prefix);
        var (small, large) = (Text(8_000), Text(64_000));
        Measure(small); // makes the states
        Measure(large);
        var ratio = double.MaxValue;
        for (var attempt = 0; attempt < 5 && ratio > 24; attempt++)
            ratio = Measure(large) / Measure(small);
        Assert.True(ratio <= 24, $"eight times the text took {ratio:f0} times as long"); // 64 for what is quadratic; the rest is a busy machine

        double Measure(byte[] text)
        {
            var best = double.MaxValue;
            for (var i = 0; i < 5; i++)
            {
                var start = TimeProvider.System.GetTimestamp();
                list.Matches(text);
                best = Math.Min(best, TimeProvider.System.GetElapsedTime(start).TotalMicroseconds);
            }

            return best;
        }

        static byte[] Text(int length) => [.. Enumerable.Repeat((byte)'a', length - 1), (byte)'!'];
    }

    [Fact]
    public static void Memory_stays_bounded_whatever_texts_come()
    {
        // 2^16 states if each is kept; of each text other ones are met
        var list = Create("(?:a|b)*a(?:a|b){16}c", PatternExtent.Prefix);
        var random = new Random(1);
        var before = GC.GetTotalMemory(true);
        var text = new byte[4000];
        for (var i = 0; i < 500; i++)
        {
            for (var j = 0; j < text.Length; j++)
                text[j] = (byte)('a' + random.Next(2));
            list.Matches(text);
        }

        var grown = (GC.GetTotalMemory(true) - before) / 1024 / 1024;
        TestContext.Current.TestOutputHelper?.WriteLine($"{grown} MiB");
        Assert.True(grown < 128, $"{grown} MiB more");
        GC.KeepAlive(list);
    }

    private static PatternList Create(string pattern, PatternExtent extent)
    {
        Assert.True(PatternList.TryCreate([pattern], extent, "$", out var list, out var error), error);
        return list;
    }
}

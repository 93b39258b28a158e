using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;

namespace Keylime.Attestation.Tests;

/// <summary>Python itself: of patterns at random, what we take it takes, and matches the same texts; what it refuses we refuse.</summary>
public sealed class PatternOracleTests
{
    private const string Script =
        """
        import json, re, sys, warnings
        warnings.simplefilter("ignore")
        answers = []
        for pattern, texts in json.load(sys.stdin):
            try:
                compiled = re.compile(pattern)
            except (re.error, OverflowError):
                answers.append(None)
                continue
            answers.append([[bool(compiled.match(t)), bool(compiled.fullmatch(t))] for t in texts])
        json.dump(answers, sys.stdout)
        """;

    private static readonly string[] Atoms =
    [
        "a", "b", "ab", "/", ".", "é", "\\.", "\\w", "\\W", "\\d", "\\s", "\\S", "[ab]", "[^a]", "[a-c/]", "[^\\w]", "[\\s\\d]", "[]a]", "[a^-]", "\\x61", "\\u00e9", "\\n", "{", "}", "]",
        "^", "$", "\\b", "\\B", "\\A", "\\Z", "\\101", "1", "_", " ", "\\", "(", ")", "[", "&&", "-", "\\-", "\\1", "\\q", "(?i)", "(?#c)", "😀",
    ];

    private static readonly string[] Repeats = ["*", "+", "?", "{2}", "{,2}", "{1,}", "{0,3}", "{,}", "*?", "+?", "{2}?", "{2,1}", "{x}", "**", "*+"];

    private static readonly string[] Openings = ["(", "(?:", "(?P<n>", "(?i:", "(?s:", "(?!", "(?=", "(?-i:", "(?m:", "(?x:", "(?a:"];

    [Fact]
    public async Task Random_patterns_mean_the_same()
    {
        var random = new Random(20261124);
        var cases = Enumerable.Range(0, 6000).Select(_ => (Pattern: Pattern(random, 3), Texts: Enumerable.Range(0, 12).Select(_ => Text(random)).ToArray())).ToArray();
        var question = new JsonArray([.. cases.Select(c => (JsonNode)new JsonArray(c.Pattern, new JsonArray([.. c.Texts.Select(t => (JsonNode?)t)])))]);
        var answers = JsonNode.Parse(await AskAsync(question.ToJsonString()))!.AsArray();

        var (matched, refusedByBoth, refusedByUs) = (0, 0, 0);
        for (var i = 0; i < cases.Length; i++)
        {
            var (pattern, texts) = cases[i];
            var taken = PatternList.TryCreate(pattern, PatternExtent.Prefix, "$", out var prefix, out var error);
            Assert.Equal(taken, PatternList.TryCreate(pattern, PatternExtent.Whole, "$", out var whole, out _));
            if (answers[i] is not JsonArray answer)
            {
                Assert.False(taken, $"Python refuses {pattern}");
                refusedByBoth++;
                continue;
            }

            if (!taken)
            {
                Assert.Matches("linear time|states|ways|belong to its start", error!); // Python 3.10 still takes flags anywhere
                refusedByUs++;
                continue;
            }

            for (var j = 0; j < texts.Length; j++)
            {
                Assert.True(answer[j]![0]!.GetValue<bool>() == prefix!.Matches(texts[j]), $"{pattern} as a prefix of {JsonValue.Create(texts[j])!.ToJsonString()}: Python says {answer[j]![0]}");
                Assert.True(answer[j]![1]!.GetValue<bool>() == whole!.Matches(texts[j]), $"{pattern} as the whole of {JsonValue.Create(texts[j])!.ToJsonString()}: Python says {answer[j]![1]}");
                matched += answer[j]![0]!.GetValue<bool>() ? 1 : 0;
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{matched} matches, {refusedByBoth} refused by both, {refusedByUs} by us alone");
        Assert.True(matched > 5000 && refusedByBoth > 500 && refusedByUs > 50, $"{matched} matches, {refusedByBoth} refused by both, {refusedByUs} by us alone");
    }

    private static string Pattern(Random random, int depth)
    {
        var pattern = new StringBuilder();
        for (var parts = random.Next(1, 5); parts > 0; parts--)
        {
            if (depth > 0 && random.Next(5) == 0)
                pattern.Append(Openings[random.Next(random.Next(3) == 0 ? Openings.Length : 2)]).Append(Pattern(random, depth - 1)).Append(')');
            else
                pattern.Append(Atoms[random.Next(random.Next(6) == 0 ? Atoms.Length : 25)]);
            if (random.Next(3) == 0)
                pattern.Append(Repeats[random.Next(random.Next(4) == 0 ? Repeats.Length : 7)]);
            if (random.Next(8) == 0)
                pattern.Append('|');
        }

        return pattern.ToString();
    }

    private static string Text(Random random)
    {
        const string alphabet = "aaabbb//.é1_ \n-{}]A";
        var text = new StringBuilder();
        for (var length = random.Next(1, 8); length > 0; length--) // of an empty text \B means something else in each version of Python
            text.Append(alphabet[random.Next(alphabet.Length)]);
        return text.ToString();
    }

    private static async Task<string> AskAsync(string question)
    {
        using var python = Process.Start(new ProcessStartInfo("python3", ["-c", Script]) { RedirectStandardInput = true, RedirectStandardOutput = true, StandardInputEncoding = new UTF8Encoding(false) })!;
        var answer = python.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await python.StandardInput.WriteAsync(question);
        python.StandardInput.Close();
        await python.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, python.ExitCode);
        return await answer;
    }
}

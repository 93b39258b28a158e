using System.Buffers.Text;
using System.Text;

namespace Keylime.EndToEnd.Tests;

/// <summary>What real programs logged, held against what must be in no log: tokens and keys of the service's data directory, in the forms that programs write such things in.</summary>
internal static class LogScan
{
    public static void NothingSecretIn(IReadOnlyDictionary<string, string> logs, string data)
    {
        string[] files = [.. Directory.Exists(data) ? Directory.EnumerateFiles(data, "*.token").Concat(Directory.EnumerateFiles(data, "*.key", SearchOption.AllDirectories)).Concat(Directory.EnumerateFiles(data, "*.p8", SearchOption.AllDirectories)) : []];
        var secrets = files.Distinct().SelectMany(static file => Forms(File.ReadAllBytes(file)).Select(form => (File: Path.GetFileName(file), Form: form))).ToList();
        Assert.DoesNotContain(secrets, static s => s.Form.Length < 16);
        foreach (var (name, text) in logs)
            Assert.DoesNotContain(secrets, s => text.Contains(s.Form, StringComparison.Ordinal) && Said(name, s.File));
        if (secrets.Count > 0) // and what is there would be found
            Assert.Contains(secrets, s => $"a line with {secrets[0].Form} in it".Contains(s.Form, StringComparison.Ordinal));
    }

    private static IEnumerable<string> Forms(byte[] secret)
    {
        var text = Encoding.UTF8.GetString(secret).Trim();
        if (text.All(static c => c is >= ' ' and < '\x7f'))
            yield return text;
        if (text.Split('.') is [_, { Length: > 16 } behind])
            yield return behind;
        yield return Convert.ToBase64String(secret);
        yield return Base64Url.EncodeToString(secret);
        yield return Convert.ToHexStringLower(secret);
        yield return Convert.ToHexString(secret);
    }

    // Which file's secret was in which log; never the secret itself.
    private static bool Said(string log, string file)
    {
        TestContext.Current.TestOutputHelper?.WriteLine($"{log} has what is in {file}.");
        return true;
    }
}

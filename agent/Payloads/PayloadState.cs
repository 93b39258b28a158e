using System.Globalization;
using System.Text;
using Keylime.Protocol.Payloads;

namespace Keylime.Agent.Payloads;

/// <summary>A payload that is here, or was.</summary>
/// <param name="Release">The service's number for how it came.</param>
/// <param name="Inode">Of its file: one that stands there with another is not what was written.</param>
/// <param name="Gone">It was wiped, or somebody has taken it away.</param>
/// <param name="Told">The service knows how it stands.</param>
internal sealed record HeldPayload(string Name, long Version, string Release, ulong Inode, bool Gone, bool Told);

/// <summary>The file <c>.state</c> beside the payloads: a line for each, of words with a space between. (JSON would cost the agent 50 KB of its size.)</summary>
internal static class PayloadState
{
    private const string Head = "keylime payloads 1";
    private const string NextWord = "next";
    private const string HereWord = "here";
    private const string GoneWord = "gone";
    private const string ToldWord = "told";
    private const string UntoldWord = "untold";

    /// <param name="next">The one whose file is about to be put in its place. Whether it was, the file's inode tells: so an end at any line leaves no doubt about what stands there.</param>
    public static byte[] Encode(IReadOnlyList<HeldPayload> held, HeldPayload? next)
    {
        var text = new StringBuilder(Head).Append('\n');
        foreach (var payload in held)
            Append(text, payload.Gone ? GoneWord : HereWord, payload);
        if (next is not null)
            Append(text, NextWord, next);
        return Encoding.ASCII.GetBytes(text.ToString());
    }

    /// <returns>False where it cannot be read.</returns>
    public static bool TryParse(ReadOnlySpan<byte> content, out List<HeldPayload> held, out HeldPayload? next)
    {
        (held, next) = ([], null);
        if (Encoding.ASCII.GetString(content).Split('\n') is not [Head, .. var lines, ""])
            return false;
        foreach (var line in lines)
        {
            if (line.Split(' ') is not [NextWord or HereWord or GoneWord, ToldWord or UntoldWord, _, _, _, _] words || !PayloadName.IsValid(words[2])
                || !long.TryParse(words[3], NumberStyles.None, CultureInfo.InvariantCulture, out var version)
                || !ulong.TryParse(words[4], NumberStyles.None, CultureInfo.InvariantCulture, out var inode))
            {
                return false;
            }

            var payload = new HeldPayload(words[2], version, words[5], inode, words[0] == GoneWord, words[1] == ToldWord);
            if (words[0] == NextWord)
                next = payload;
            else
                held.Add(payload);
        }

        return true;
    }

    private static void Append(StringBuilder text, string state, HeldPayload payload) => text.Append(
        CultureInfo.InvariantCulture, $"{state} {(payload.Told ? ToldWord : UntoldWord)} {payload.Name} {payload.Version} {payload.Inode} {payload.Release}\n");
}

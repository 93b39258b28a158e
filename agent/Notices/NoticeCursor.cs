using System.Globalization;
using System.Text;
using System.Text.Json;
using Keylime.Protocol.Notices;

namespace Keylime.Agent.Notices;

/// <summary>How far the agent has come with notices, kept over its stops.</summary>
/// <param name="After">The number of the last one that it has dealt with; <see cref="NoticeBatch.FromNowOn"/> before the first.</param>
/// <param name="BadSince">Since when the next one cannot be believed.</param>
internal sealed record NoticeCursor(long After, DateTimeOffset? BadSince = null)
{
    private const string AfterName = "after";
    private const string BadSinceName = "badSince";

    /// <summary>The largest number that a notice may have: one a millisecond for thousands of years.</summary>
    public const long Most = 1L << 53;

    public static NoticeCursor Load(string path)
    {
        if (!File.Exists(path))
            return new NoticeCursor(NoticeBatch.FromNowOn);
        if (TryRead(File.ReadAllBytes(path)) is { } cursor)
            return cursor;
        Log.Error($"{path} holds no number of a notice. Notices are taken in from now on; those before are lost.");
        return new NoticeCursor(NoticeBatch.FromNowOn);
    }

    public void Save(string path) => AgentData.SaveFile(path, Encoding.ASCII.GetBytes(string.Create(
        CultureInfo.InvariantCulture, $$"""{"{{AfterName}}":{{After}}{{(BadSince is { } since ? $",\"{BadSinceName}\":\"{since:O}\"" : "")}}}""")));

    private static NoticeCursor? TryRead(byte[] json)
    {
        try
        {
            using var document = JsonDocument.Parse(json);
            if (document.RootElement is not { ValueKind: JsonValueKind.Object } root
                || !root.TryGetProperty(AfterName, out var after) || after.ValueKind != JsonValueKind.Number || !after.TryGetInt64(out var number) || number is < NoticeBatch.FromNowOn or > Most)
                return null;
            var since = root.TryGetProperty(BadSinceName, out var bad) && bad.ValueKind == JsonValueKind.String && bad.TryGetDateTimeOffset(out var at) ? at : (DateTimeOffset?)null;
            return new NoticeCursor(number, since);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>What the agent itself says to a local action: that notices were not dealt with.</summary>
/// <param name="From">The first number.</param>
/// <param name="To">The last one; smaller than <paramref name="From"/> where the service counts anew.</param>
internal sealed record LostNotices(long From, long To, string Reason)
{
    /// <summary>The type, and so the name of the action.</summary>
    public const string TypeName = "notices.lost";

    public byte[] ToJson() => Encoding.UTF8.GetBytes(string.Create(
        CultureInfo.InvariantCulture, $$"""{"type":"{{TypeName}}","from":{{From}},"to":{{To}},"reason":"{{JsonEncodedText.Encode(Reason)}}"}"""));
}

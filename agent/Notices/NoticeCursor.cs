using System.Text.Json;
using System.Text.Json.Serialization;
using Keylime.Protocol.Notices;

namespace Keylime.Agent.Notices;

/// <summary>How far the agent has come with notices, kept over its stops.</summary>
/// <param name="After">The number of the last one that it has dealt with; <see cref="NoticeBatch.FromNowOn"/> before the first.</param>
internal sealed record NoticeCursor(long After)
{
    /// <summary>Since when the next one cannot be believed.</summary>
    public DateTimeOffset? BadSince { get; init; }

    public static NoticeCursor Load(string path)
    {
        if (!File.Exists(path))
            return new NoticeCursor(NoticeBatch.FromNowOn);
        try
        {
            if (JsonSerializer.Deserialize(File.ReadAllBytes(path), NoticeCursorJson.Default.NoticeCursor) is { After: >= NoticeBatch.FromNowOn } cursor)
                return cursor;
            Log.Error($"{path} holds no number of a notice. Notices are taken in from now on; those before are lost.");
        }
        catch (JsonException e)
        {
            Log.Error($"{path} cannot be read ({e.Message}). Notices are taken in from now on; those before are lost.");
        }

        return new NoticeCursor(NoticeBatch.FromNowOn);
    }

    public void Save(string path) => AgentData.SaveFile(path, JsonSerializer.SerializeToUtf8Bytes(this, NoticeCursorJson.Default.NoticeCursor));
}

/// <summary>What the agent itself says to a local action: that notices were not dealt with.</summary>
/// <param name="From">The first number.</param>
/// <param name="To">The last one; smaller than <paramref name="From"/> where the service counts anew.</param>
internal sealed record LostNotices(string Type, long From, long To, string Reason)
{
    /// <summary>The type, and so the name of the action.</summary>
    public const string TypeName = "notices.lost";
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(NoticeCursor))]
[JsonSerializable(typeof(LostNotices))]
internal sealed partial class NoticeCursorJson : JsonSerializerContext;

using System.Collections.Immutable;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Reads Keylime's runtime policy (keylime/ima/ima.py has its schema), front to back, into packed tables.</summary>
/// <remarks>Unknown members are allowed, as upstream allows them, and told of; a member that matters is never there twice.</remarks>
internal ref partial struct RuntimePolicyReader
{
    private const int MaxWarnings = 32;

    private readonly DigestTableBuilder _digests = new();
    private readonly DigestTableBuilder _keyrings = new();
    private readonly DigestTableBuilder _buffers = new();
    private readonly List<string> _excludes = [];
    private readonly List<string> _ignored = [];
    private readonly List<string> _warnings = [];
    private readonly HashSet<string> _seen = [];
    private readonly Dictionary<string, ClassRuleText> _classRules = [];
    private readonly byte[] _name = new byte[MaxName];
    private TpmAlgorithm _logHash = TpmAlgorithm.Null;
    private Keyring _keys = Keyring.Empty;
    private DeviceMapperPolicy? _devices;
    private (long Budget, PatternList Paths)? _violations;
    private int _untold;
    private Utf8JsonReader _json;
    private readonly ReadOnlySpan<byte> _text;
    private readonly PolicyTables? _tables;
    private readonly PolicySettingsText _settings = new();

    /// <param name="tables">The lists, where they are in tables already: the text is the one of the settings.</param>
    public RuntimePolicyReader(ReadOnlySpan<byte> utf8Json, PolicyTables? tables = null)
    {
        _json = new Utf8JsonReader(utf8Json);
        _text = utf8Json;
        _tables = tables;
    }

    /// <summary>Once the policy is read.</summary>
    public readonly ImmutableArray<string> Warnings =>
        [.. _warnings, .. _untold == 0 ? Array.Empty<string>() : [$"… and {_untold} more."]];

    /// <exception cref="JsonException">It is no runtime policy.</exception>
    public RuntimeRules Read()
    {
        Next();
        if (_json.TokenType != JsonTokenType.StartObject)
            throw Wrong("$", "an object");

        while (NextMember() is { } name)
        {
            if (!_seen.Add(name))
                throw new JsonException($"$.{Shown(name)}: the member is there twice.");
            var ahead = _json;
            var start = ahead.Read() ? (int)ahead.TokenStartIndex : _text.Length;
            ReadMember(name);
            _settings.Keep(name, _text[start..(int)_json.BytesConsumed]);
        }

        if (_json.Read())
            throw new JsonException("$: text behind the policy's end.");
        foreach (var required in (string[])["meta", "digests", "excludes", "ima"])
        {
            if (!_seen.Contains(required))
                throw new JsonException($"$.{required}: the member is missing.");
        }

        var tables = _tables ?? new PolicyTables(Build(_digests, "$.digests"), Build(_keyrings, "$.keyrings"), Build(_buffers, "$.ima-buf"));
        if (tables.Digests.Count == 0 && tables.Keyrings.Count == 0 && _keys.Keys.IsEmpty)
            throw new JsonException("$.digests: it is empty, and so are keyrings and verification-keys: such a policy appraises nothing.");
        return new RuntimeRules
        {
            Tables = tables,
            Settings = _settings.Write(),
            Excludes = CreateExcludes(),
            IgnoredKeyrings = [.. _ignored.Select(System.Text.Encoding.UTF8.GetBytes)],
            IgnoresEveryKeyring = _ignored.Contains("*"),
            LogHash = _logHash,
            Keys = _keys,
            Devices = _devices,
            Violations = _violations,
            ClassRules = _classRules,
        };
    }

    private void ReadMember(string name)
    {
        switch (name)
        {
            case "meta":
                ReadMeta();
                break;
            case "release":
                Next();
                ReadNumber("$.release", int.MaxValue);
                break;
            case "digests":
                ReadDigestLists("$.digests", _digests);
                break;
            case "keyrings":
                ReadDigestLists("$.keyrings", _keyrings);
                break;
            case "ima-buf":
                ReadDigestLists("$.ima-buf", _buffers);
                break;
            case "excludes":
                ReadStrings("$.excludes", _excludes);
                break;
            case "ima":
                ReadIma();
                break;
            case "verification-keys":
                ReadVerificationKeys();
                break;
            case "violations":
                ReadViolations();
                break;
            case "class-rules":
                ReadClassRules();
                break;
            case "provenance": // where the tool had the digests from: for people, and for comparing
                Next();
                _json.Skip();
                break;
            default:
                PassOver($"$.{Shown(name)}");
                break;
        }
    }

    // Its strings have to be text all the same: the policy is also read to be edited, and written again.
    private void PassOver(string where)
    {
        Warn($"{where}: nobody here knows this member; it has no effect.");
        Next();
        for (var depth = _json.CurrentDepth; ; Next())
        {
            if (_json.TokenType is JsonTokenType.String or JsonTokenType.PropertyName)
                _ = _json.GetString();
            if (_json.CurrentDepth == depth && _json.TokenType is not (JsonTokenType.StartObject or JsonTokenType.StartArray or JsonTokenType.PropertyName))
                return;
        }
    }

    private void Warn(string warning)
    {
        if (_warnings.Count < MaxWarnings)
            _warnings.Add(warning);
        else
            _untold++;
    }

    private void Enter(string path)
    {
        Next();
        if (_json.TokenType != JsonTokenType.StartObject)
            throw Wrong(path, "an object");
    }

    private string? NextMember()
    {
        Next();
        return _json.TokenType == JsonTokenType.EndObject ? null : _json.GetString();
    }

    private void Next()
    {
        if (!_json.Read())
            throw new JsonException("The text ends in the middle of the policy.");
    }

    // A name is the policy's: it may be of any length, and hold what moves a cursor.
    private static string Shown(string name) => PrintablePath.From(System.Text.Encoding.UTF8.GetBytes(name.Length <= 80 ? name : name[..80] + "…"));

    private static DigestTable Build(DigestTableBuilder table, string path) =>
        table.Build() ?? throw new JsonException($"{path}: a name is there twice.");

    private readonly JsonException Wrong(string path, string expected) =>
        new($"{path}: {_json.TokenType} found at byte {_json.TokenStartIndex}, {expected} expected.");
}

using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>Reads Keylime's runtime policy (keylime/ima/ima.py has its schema), front to back, into packed tables.</summary>
/// <remarks>Unknown members are allowed, as upstream allows them; a member that matters is never there twice.</remarks>
internal ref struct RuntimePolicyReader
{
    private readonly DigestTable.Builder _digests = new();
    private readonly List<string> _excludes = [];
    private readonly List<string> _warnings = [];
    private readonly HashSet<string> _seen = [];
    private TpmAlgorithm _logHash = TpmAlgorithm.Null;
    private Utf8JsonReader _json;

    public RuntimePolicyReader(ReadOnlySpan<byte> utf8Json) => _json = new Utf8JsonReader(utf8Json);

    /// <exception cref="JsonException">It is no runtime policy.</exception>
    public RuntimePolicy Read()
    {
        Next();
        if (_json.TokenType != JsonTokenType.StartObject)
            throw Wrong("$", "an object");

        while (NextMember() is { } name)
        {
            if (!_seen.Add(name))
                throw new JsonException($"$.{name}: the member is there twice.");
            ReadMember(name);
        }

        if (_json.Read())
            throw new JsonException("$: text behind the policy's end.");
        foreach (var required in (string[])["meta", "digests", "excludes", "ima"])
        {
            if (!_seen.Contains(required))
                throw new JsonException($"$.{required}: the member is missing.");
        }

        if (_digests.Count == 0)
            throw new JsonException("$.digests: it is empty, and a policy without digests appraises nothing.");
        return RuntimePolicy.Create(
            _digests.Build() ?? throw new JsonException("$.digests: a path is there twice."), CreateExcludes(), _logHash, [.. _warnings]);
    }

    private void ReadMember(string name)
    {
        switch (name)
        {
            case "meta":
                ReadMeta();
                break;
            case "digests":
                ReadDigests();
                break;
            case "excludes":
                ReadExcludes();
                break;
            case "ima":
                ReadIma();
                break;
            case "keyrings" or "ima-buf":
                Next();
                if (_json.TokenType == JsonTokenType.StartObject && !IsEmptyObject())
                    _warnings.Add($"$.{name}: not applied yet; such measurements are refused.");
                else
                    _json.Skip();
                break;
            case "verification-keys":
                Next();
                if (_json.TokenType == JsonTokenType.String && _json.ValueSpan.Length > 0)
                    _warnings.Add("$.verification-keys: not applied yet; files are judged by their digests alone.");
                _json.Skip();
                break;
            default:
                Next();
                _json.Skip();
                break;
        }
    }

    private void ReadMeta()
    {
        Enter("$.meta");
        var version = false;
        while (NextMember() is { } name)
        {
            Next();
            if (name == "version")
                version = _json.TokenType == JsonTokenType.Number && _json.TryGetInt32(out var number) && number >= 0 ? true : throw Wrong("$.meta.version", "a whole number");
            _json.Skip();
        }

        if (!version)
            throw new JsonException("$.meta.version: the member is missing.");
    }

    private void ReadDigests()
    {
        const int maxPath = 4096; // PATH_MAX
        Span<byte> digest = stackalloc byte[TpmAlgorithms.MaxDigestSize];
        var path = new byte[maxPath];
        Enter("$.digests");
        while (true)
        {
            Next();
            if (_json.TokenType == JsonTokenType.EndObject)
                return;

            if (_json.ValueSpan.Length > maxPath)
                throw new JsonException($"$.digests: a path of {_json.ValueSpan.Length} bytes, {maxPath} at most.");
            var length = _json.CopyString(path);
            if (length == 0)
                throw new JsonException("$.digests: a path is empty.");
            _digests.AddPath(path.AsSpan(0, length));
            ReadDigestsOf(path.AsSpan(0, length), digest);
        }
    }

    private void ReadDigestsOf(scoped ReadOnlySpan<byte> path, scoped Span<byte> digest)
    {
        Next();
        if (_json.TokenType != JsonTokenType.StartArray)
            throw Wrong(At(path), "an array of digests");

        var any = false;
        for (Next(); _json.TokenType != JsonTokenType.EndArray; Next())
        {
            var hex = _json.ValueSpan;
            if (_json.TokenType != JsonTokenType.String || hex.Length is not (40 or 64 or 96 or 128) || hex.ContainsAnyExcept(Hex.Lower))
                throw Wrong(At(path), "digests in lower-case hex, of 40, 64, 96 or 128 digits");
            _digests.AddDigest(digest[..Hex.Decode(hex, digest)]);
            any = true;
        }

        if (!any)
            throw new JsonException($"{At(path)}: it lists no digest. A path that may have any content belongs into excludes.");
    }

    private void ReadExcludes()
    {
        Next();
        if (_json.TokenType != JsonTokenType.StartArray)
            throw Wrong("$.excludes", "an array of regular expressions");
        for (Next(); _json.TokenType != JsonTokenType.EndArray; Next())
        {
            if (_json.TokenType != JsonTokenType.String)
                throw Wrong("$.excludes", "strings");
            _excludes.Add(_json.GetString()!);
        }
    }

    private void ReadIma()
    {
        Enter("$.ima");
        while (NextMember() is { } name)
        {
            Next();
            switch (name)
            {
                case "log_hash_alg":
                    if (_json.TokenType != JsonTokenType.String
                        || !TpmAlgorithms.TryFromProtocolName(_json.GetString(), out _logHash) || !_logHash.IsHash())
                    {
                        throw Wrong("$.ima.log_hash_alg", "sha1, sha256, sha384 or sha512");
                    }

                    break;
                case "dm_policy" when _json.TokenType != JsonTokenType.Null:
                    _warnings.Add("$.ima.dm_policy: not applied yet; device-mapper measurements are refused.");
                    _json.Skip();
                    break;
                default:
                    _json.Skip();
                    break;
            }
        }

        if (_logHash == TpmAlgorithm.Null)
            throw new JsonException("$.ima.log_hash_alg: the member is missing.");
    }

    private ExcludeList CreateExcludes()
    {
        try
        {
            var list = ExcludeList.Create(_excludes);
            for (var i = 0; i < _excludes.Count; i++)
            {
                // A path that nobody would name on purpose: what matches it matches everything.
                if (ExcludeList.Create([_excludes[i]]).Matches("/\u0001no file has this name"u8))
                    _warnings.Add($"$.excludes[{i}]: the pattern matches every path, so nothing that the policy does not list is judged.");
            }

            return list;
        }
        catch (ArgumentException e)
        {
            throw new JsonException(e.Message, e);
        }
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

    private bool IsEmptyObject()
    {
        Next();
        if (_json.TokenType == JsonTokenType.EndObject)
            return true;
        for (var depth = _json.CurrentDepth; !(_json.TokenType == JsonTokenType.EndObject && _json.CurrentDepth < depth);)
            Next();
        return false;
    }

    private static string At(ReadOnlySpan<byte> path) => $"$.digests['{PrintablePath.From(path)}']";

    [SuppressMessage("Performance", "CA1822:Mark members as static", Justification = "It reads the reader's token.")]
    private readonly JsonException Wrong(string path, string expected) =>
        new($"{path}: {_json.TokenType} found, {expected} expected.");
}

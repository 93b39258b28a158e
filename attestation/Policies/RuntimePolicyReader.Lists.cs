using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>The lists of a policy.</summary>
internal ref partial struct RuntimePolicyReader
{
    private const int MaxName = 4096; // PATH_MAX

    private void ReadMeta()
    {
        Enter("$.meta");
        var version = false;
        while (NextMember() is { } name)
        {
            switch (name)
            {
                case "version":
                    Next();
                    version = ReadNumber("$.meta.version", int.MaxValue) >= 0;
                    break;
                case "generator":
                    Next();
                    ReadNumber("$.meta.generator", 3);
                    break;
                case "timestamp":
                    Next();
                    if (_json.TokenType != JsonTokenType.String)
                        throw Wrong("$.meta.timestamp", "a string");
                    _ = _json.GetString(); // it has to be text
                    break;
                default:
                    PassOver($"$.meta.{Shown(name)}");
                    break;
            }
        }

        if (!version)
            throw new JsonException("$.meta.version: the member is missing.");
    }

    private void ReadDigestLists(string where, DigestTableBuilder into)
    {
        Span<byte> digest = stackalloc byte[TpmAlgorithms.MaxDigestSize];
        Enter(where);
        while (true)
        {
            Next();
            if (_json.TokenType == JsonTokenType.EndObject)
                return;

            if (_json.ValueSpan.Length > MaxName)
                throw new JsonException($"{where}: a name of {_json.ValueSpan.Length} bytes at byte {_json.TokenStartIndex}, {MaxName} at most.");
            var name = _name.AsSpan(0, _json.CopyString(_name));
            if (name.IsEmpty || name.Contains((byte)0))
                throw new JsonException($"{where}: a name at byte {_json.TokenStartIndex} is empty or holds a zero, and no measured one is.");
            into.AddPath(name);
            ReadDigestsOf(where, name, into, digest);
        }
    }

    private void ReadDigestsOf(string where, scoped ReadOnlySpan<byte> name, DigestTableBuilder into, scoped Span<byte> digest)
    {
        Next();
        if (_json.TokenType != JsonTokenType.StartArray)
            throw Wrong(At(where, name), "an array of digests");

        var any = false;
        for (Next(); _json.TokenType != JsonTokenType.EndArray; Next())
        {
            // The sizes of the kernel's hashes (crypto/hash_info.c), but MD5's, which upstream does not take either.
            var hex = _json.ValueSpan;
            if (_json.TokenType != JsonTokenType.String || hex.Length is not (40 or 48 or 56 or 64 or 80 or 96 or 128) || hex.ContainsAnyExcept(Hex.Lower))
                throw Wrong(At(where, name), "digests in lower-case hex, of 40, 48, 56, 64, 80, 96 or 128 digits");
            into.AddDigest(digest[..Hex.Decode(hex, digest)]);
            any = true;
        }

        if (!any)
            throw new JsonException($"{At(where, name)}: it lists no digest. A path that may have any content belongs into excludes.");
    }

    private void ReadStrings(string where, List<string> into)
    {
        Next();
        if (_json.TokenType != JsonTokenType.StartArray)
            throw Wrong(where, "an array of strings");
        for (Next(); _json.TokenType != JsonTokenType.EndArray; Next())
        {
            if (_json.TokenType != JsonTokenType.String)
                throw Wrong($"{where}[{into.Count}]", "a string");
            if (into.Count == PatternList.MaxPatterns)
                throw new JsonException($"{where}: more than {PatternList.MaxPatterns} strings.");
            into.Add(_json.GetString()!);
        }
    }

    private PatternList CreateExcludes()
    {
        var list = CreatePatterns(_excludes, "$.excludes");
        for (var i = 0; i < _excludes.Count && _tables is null; i++) // what is compiled has been warned of
        {
            // A path that nobody would name on purpose: what matches it matches everything.
            if (CreatePatterns([_excludes[i]], $"$.excludes[{i}]").Matches("/\u0001no file has this name"u8))
                Warn($"$.excludes[{i}]: the pattern matches every path, so nothing that the policy does not list is judged.");
        }

        return list;
    }

    private static PatternList CreatePatterns(IReadOnlyList<string> patterns, string where) =>
        PatternList.TryCreate(patterns, PatternExtent.Prefix, where, out var list, out var error) ? list : throw new JsonException(error);

    private readonly long ReadNumber(string where, long most)
    {
        if (_json.TokenType != JsonTokenType.Number || !_json.TryGetInt64(out var number) || number < 0 || number > most)
            throw Wrong(where, $"a whole number from 0 to {most}");
        return number;
    }

    private static string At(string where, ReadOnlySpan<byte> name) => $"{where}['{PrintablePath.From(name)}']";
}

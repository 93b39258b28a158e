using System.Text.Json;
using Keylime.Tpm;

namespace Keylime.Attestation;

/// <summary>The settings of a policy. Those of our own (<c>violations</c>, <c>class-rules</c>) are strict: a word that is misspelt is refused.</summary>
internal ref partial struct RuntimePolicyReader
{
    private const int MaxReason = 1024;

    private void ReadIma()
    {
        Enter("$.ima");
        while (NextMember() is { } name)
        {
            switch (name)
            {
                case "log_hash_alg":
                    Next();
                    if (_json.TokenType != JsonTokenType.String
                        || !TpmAlgorithms.TryFromProtocolName(_json.GetString(), out _logHash) || !_logHash.IsHash())
                    {
                        throw Wrong("$.ima.log_hash_alg", "sha1, sha256, sha384 or sha512");
                    }

                    break;
                case "ignored_keyrings":
                    ReadStrings("$.ima.ignored_keyrings", _ignored);
                    break;
                case "dm_policy":
                    ReadDevices();
                    break;
                default:
                    PassOver($"$.ima.{Shown(name)}");
                    break;
            }
        }

        if (_logHash == TpmAlgorithm.Null)
            throw new JsonException("$.ima.log_hash_alg: the member is missing.");
    }

    private void ReadDevices()
    {
        Next();
        if (_json.TokenType == JsonTokenType.Null)
            return;
        var start = (int)_json.TokenStartIndex;
        _json.Skip();
        if (!DeviceMapperPolicy.TryParse(_text[start..(int)_json.BytesConsumed].ToArray(), out _devices, out var error))
            throw new JsonException(error);
    }

    private void ReadVerificationKeys()
    {
        Next();
        if (_json.TokenType != JsonTokenType.String)
            throw Wrong("$.verification-keys", "a string, which is empty or holds JSON");
        if (_json.GetString() is { Length: > 0 } text && !Keyring.TryFromPolicy(text, out _keys!, out var error))
            throw new JsonException($"$.verification-keys: {error}");
    }

    private void ReadViolations()
    {
        long budget = 0;
        var paths = new List<string>();
        Enter("$.violations");
        while (NextMember() is { } name)
        {
            switch (name)
            {
                case "budget":
                    Next();
                    budget = ReadNumber("$.violations.budget", int.MaxValue);
                    break;
                case "paths":
                    paths.Clear();
                    ReadStrings("$.violations.paths", paths);
                    break;
                default:
                    throw new JsonException($"$.violations.{Shown(name)}: 'budget' and 'paths' are expected.");
            }
        }

        _violations = (budget, CreatePatterns(paths, "$.violations.paths"));
    }

    private void ReadClassRules()
    {
        Enter("$.class-rules");
        while (NextMember() is { } name)
        {
            if (ClassRules.ModesOf(name).IsEmpty)
                throw new JsonException($"$.class-rules.{Shown(name)}: {string.Join(", ", ClassRules.Names)} are the class rules that there are.");
            if (!_classRules.TryAdd(name, ReadClassRule(name)))
                throw new JsonException($"$.class-rules.{name}: the rule is there twice.");
        }
    }

    private ClassRuleText ReadClassRule(string rule)
    {
        string? mode = null;
        string? reason = null;
        Enter($"$.class-rules.{rule}");
        while (NextMember() is { } name)
        {
            Next();
            if (_json.TokenType != JsonTokenType.String)
                throw Wrong($"$.class-rules.{rule}.{Shown(name)}", "a string");
            switch (name)
            {
                case "mode":
                    mode = _json.GetString();
                    break;
                case "reason":
                    reason = _json.GetString();
                    break;
                default:
                    throw new JsonException($"$.class-rules.{rule}.{Shown(name)}: 'mode' and 'reason' are expected.");
            }
        }

        if (mode is null || !ClassRules.ModesOf(rule).Contains(mode))
            throw new JsonException($"$.class-rules.{rule}.mode: {string.Join(", ", ClassRules.ModesOf(rule))}: one of these is expected.");
        if (reason?.Length > MaxReason)
            throw new JsonException($"$.class-rules.{rule}.reason: {reason.Length} characters, {MaxReason} at most.");
        if (mode == ClassRules.Allow && string.IsNullOrWhiteSpace(reason))
            Warn($"$.class-rules.{rule}: it allows what nobody judges, and gives no reason.");
        return new ClassRuleText(mode, reason);
    }
}

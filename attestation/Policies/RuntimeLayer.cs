namespace Keylime.Attestation;

/// <summary>One layer of a policy. A policy that is no layered one has one, without a name and for ever.</summary>
internal sealed class RuntimeLayer(string name, RuntimeRules rules, DateTimeOffset? until)
{
    public string Name { get; } = name;

    public RuntimeRules Rules { get; } = rules;

    public DateTimeOffset? Until { get; } = until;

    /// <summary>The policy's own keys that sign files.</summary>
    public KeyringSet Keys { get; } =
        rules.Keys.Keys.IsEmpty ? KeyringSet.Empty : KeyringSet.Empty.With("verification-keys", rules.Keys);

    public bool IsLiveAt(DateTimeOffset time) => Until is not { } end || time < end;
}

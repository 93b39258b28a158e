using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using System.Text.Json;

namespace Keylime.Attestation;

/// <summary>Which devices of the device mapper may be there, and what may happen to them: the <c>dm_policy</c> of a runtime policy.</summary>
public sealed class DeviceMapperPolicy
{
    internal DeviceMapperPolicy(bool matchOnUuid, ImmutableArray<DeviceMapperRule> rules) => (MatchOnUuid, Rules) = (matchOnUuid, rules);

    /// <summary>Devices are told apart by uuid, and otherwise by name.</summary>
    internal bool MatchOnUuid { get; }

    /// <summary>In the policy's order: the first that fits a device is its rule.</summary>
    internal ImmutableArray<DeviceMapperRule> Rules { get; }

    /// <param name="utf8Json">The value of <c>$.ima.dm_policy</c>.</param>
    /// <param name="error">What, where (as a JSON path from <c>$.ima.dm_policy</c>), and what was expected.</param>
    public static bool TryParse(ReadOnlyMemory<byte> utf8Json, [NotNullWhen(true)] out DeviceMapperPolicy? policy, [NotNullWhen(false)] out string? error)
    {
        try
        {
            using var document = JsonDocument.Parse(utf8Json, new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = 16 });
            (policy, error) = (DeviceMapperPolicyReader.Read(document.RootElement), null);
            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            (policy, error) = (null, e.Message.StartsWith('$') ? e.Message : $"$.ima.dm_policy: no JSON: {e.Message}");
            return false;
        }
    }

    internal DeviceMapperRule? Find(string name) => Rules.FirstOrDefault(rule => rule.Name == name);

    internal string KeyOf(string name, string uuid) => MatchOnUuid ? uuid : name;
}

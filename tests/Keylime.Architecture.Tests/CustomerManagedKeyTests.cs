using System.Text.Json.Nodes;

namespace Keylime.Architecture.Tests;

/// <summary>With <c>customerManagedKeys</c> every store of state is encrypted with a key of the vault, rows too, and only an identity made for it may use that key.</summary>
public sealed class CustomerManagedKeyTests
{
    private const string EncryptionUser = "e147488a-f6f5-4113-8e2d-b22465e65bf6";

    [Theory]
    [InlineData("dev", false)]
    [InlineData("prod", true)]
    public async Task Switched_on_it_encrypts_all_state_and_each_check_of_that_can_fail(string environment, bool isPrivate)
    {
        var folder = InfraTests.Copy();
        var parameters = Path.Combine(folder, environment + ".bicepparam");
        await File.AppendAllTextAsync(parameters, "param customerManagedKeys = true\n", TestContext.Current.CancellationToken);
        var (exit, output) = await InfraTests.SnapshotAsync(folder, environment, "overwrite");
        Assert.Equal((0, ""), (exit, output));
        IReadOnlyList<JsonNode> Load() => InfraTests.LoadFile(Path.Combine(folder, environment + ".snapshot.json"));

        Assert.Empty(InfraTests.Objections(Load(), isPrivate)); // all else is as closed as before
        Assert.Empty(Objections(Load(), isPrivate));
        (string Words, Func<JsonNode, bool> Which, Action<JsonNode> Alter)[] mistakes =
        [
            ("not encrypted with", IsState, static r => r["properties"]!["encryption"]!["keySource"] = "Microsoft.Storage"),
            ("not encrypted with", IsState, static r => r["properties"]!["encryption"]!["keyvaultproperties"]!["keyname"] = "keylime-wrap"),
            ("a version", IsState, static r => r["properties"]!["encryption"]!["keyvaultproperties"]!["keyversion"] = "1"),
            ("its rows", IsState, static r => r["properties"]!["encryption"]!["services"]!["table"]!["keyType"] = "Service"),
            ("its queues", IsState, static r => r["properties"]!["encryption"]!["services"]!.AsObject().Remove("queue")),
            ("not the one", IsState, static r => r["properties"]!["encryption"]!["identity"]!["userAssignedIdentity"] = "/x/keylime-identity"),
            ("has not the identity", IsState, static r => r["identity"]!["userAssignedIdentities"] = new JsonObject()),
            ("never changes", static r => IsKey(r, "keylime-state"), static r => r["properties"]!["rotationPolicy"]!["lifetimeActions"] = new JsonArray()),
            ("may do more", static r => IsKey(r, "keylime-state"), static r => r["properties"]!["keyOps"]!.AsArray().Add("sign")),
            ("no role", static r => IsRole(r), static r => r["id"] = Text(r["id"])!.Replace("/keys/keylime-state", "", StringComparison.Ordinal)),
            ("the service", static r => IsRole(r), static r => r["properties"]!["principalId"] = "[reference('/x/keylime-identity', '2024-11-30').principalId]"),
            .. isPrivate ? [("cannot reach", static r => Type(r) == "Microsoft.KeyVault/vaults", static r => r["properties"]!["networkAcls"]!["bypass"] = "None")] : Array.Empty<(string, Func<JsonNode, bool>, Action<JsonNode>)>(),
        ];
        foreach (var (words, which, alter) in mistakes)
        {
            var snapshot = Load();
            alter(snapshot.First(which));
            Assert.Contains(Objections(snapshot, isPrivate), o => o.Contains(words, StringComparison.Ordinal));
        }

        Directory.Delete(folder, recursive: true);
    }

    private static List<string> Objections(IReadOnlyList<JsonNode> resources, bool isPrivate)
    {
        var found = new List<string>();
        void Want(bool good, string words)
        {
            if (!good)
                found.Add(words);
        }

        var identity = Text(resources.Single(static r => Type(r) == "Microsoft.ManagedIdentity/userAssignedIdentities" && Text(r["name"])!.EndsWith("-encryption", StringComparison.Ordinal))["id"]);
        Want(resources.Any(IsState), "there is no store of state");
        foreach (var account in resources.Where(IsState))
        {
            var encryption = account["properties"]!["encryption"];
            Want(Text(encryption?["keySource"]) == "Microsoft.Keyvault" && Text(encryption?["keyvaultproperties"]?["keyname"]) == "keylime-state", "a store is not encrypted with the vault's key");
            Want(encryption?["keyvaultproperties"]?["keyversion"] is null, "a version of the key is named: the next one would not be used");
            Want(Text(encryption?["services"]?["table"]?["keyType"]) == "Account", "its rows are left to Azure's own key");
            Want(Text(encryption?["services"]?["queue"]?["keyType"]) == "Account", "its queues are left to Azure's own key");
            Want(Text(encryption?["identity"]?["userAssignedIdentity"]) == identity, "it encrypts as an identity that is not the one for that");
            Want(account["identity"]?["userAssignedIdentities"]?[identity!] is not null, "the account has not the identity that encrypts");
        }

        var key = resources.Single(static r => IsKey(r, "keylime-state"))["properties"]!;
        Want(key["rotationPolicy"]?["lifetimeActions"] is JsonArray { Count: 1 }, "the key never changes");
        Want(key["keyOps"]?.AsArray().Select(Text).SequenceEqual(["wrapKey", "unwrapKey"]) == true, "the key may do more than wrap");
        var roles = resources.Where(IsRole).ToList();
        Want(roles.Count == 1 && Text(roles[0]["id"])!.Contains("/keys/keylime-state'", StringComparison.Ordinal), "no role on the key, or on more than it");
        Want(roles.All(static r => Text(r["properties"]!["principalId"])!.Contains("-encryption'", StringComparison.Ordinal)), "the service, or somebody else, may use the key");
        // Storage comes to the vault from outside of the private network.
        Want(!isPrivate || Text(resources.Single(static r => Type(r) == "Microsoft.KeyVault/vaults")["properties"]!["networkAcls"]!["bypass"]) == "AzureServices", "Storage cannot reach the vault");
        return found;
    }

    private static bool IsState(JsonNode r) => Type(r) == "Microsoft.Storage/storageAccounts" && Text(r["name"])!.Contains("state", StringComparison.Ordinal);

    private static bool IsKey(JsonNode r, string name) => Type(r) == "Microsoft.KeyVault/vaults/keys" && Text(r["name"])!.EndsWith('/' + name, StringComparison.Ordinal);

    private static bool IsRole(JsonNode r) => Type(r) == "Microsoft.Authorization/roleAssignments" && Text(r["properties"]?["roleDefinitionId"])!.EndsWith(EncryptionUser, StringComparison.Ordinal);

    private static string? Type(JsonNode r) => Text(r["type"]);

    private static string? Text(JsonNode? node) => node is JsonValue known && known.TryGetValue<string>(out var seen) ? seen : null;
}

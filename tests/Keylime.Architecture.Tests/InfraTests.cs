using System.Diagnostics;
using System.Reflection;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Keylime.Architecture.Tests;

/// <summary>The templates of Azure: they compile without a word, deploy what was reviewed, and what they deploy is closed. Nothing is asked of Azure.</summary>
public sealed partial class InfraTests
{
    private const string Token = "deployer:0000000000000000000000000000000000000000000000000000000000000000";
    private static readonly System.Text.Json.JsonSerializerOptions Plain = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
    private static readonly string Infra = Path.Combine(Checkout.Root, "infra");
    private static readonly string Bicep = typeof(InfraTests).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static a => a.Key == "Bicep").Value!;

    // Built-in roles that may be given, each to one resource.
    private static readonly Dictionary<string, string> Roles = new()
    {
        ["b7e6dc6d-f1e8-4753-8033-0f276bb0955b"] = "Microsoft.Storage/storageAccounts", // Blob Data Owner: the host's account
        ["ba92f5b4-2d11-453d-a403-e96b0029c9fe"] = "Microsoft.Storage/storageAccounts", // Blob Data Contributor
        ["974c5e8b-45b9-4653-ba55-5f855dd0fb88"] = "Microsoft.Storage/storageAccounts", // Queue Data Contributor
        ["0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"] = "Microsoft.Storage/storageAccounts", // Table Data Contributor
        ["12338af0-0e69-4776-bea7-57ae8d297424"] = "Microsoft.KeyVault/vaults",         // Crypto User, on a key
        ["e147488a-f6f5-4113-8e2d-b22465e65bf6"] = "Microsoft.KeyVault/vaults",         // Crypto Service Encryption User, on a key
        ["3913510d-42f4-4e42-8a64-420c390055eb"] = "Microsoft.Insights/components",     // Monitoring Metrics Publisher
    };

    [GeneratedRegex("\"(keylime[a-z]*)\"")]
    private static partial Regex TableConstant { get; }

    [GeneratedRegex("= \"(keylime-[a-z-]+)\"")]
    private static partial Regex QueueConstant { get; }

    [GeneratedRegex("new\\(\"([a-z]+)\"")]
    private static partial Regex RecordKind { get; }

    // What would be a secret, wherever it stood.
    [GeneratedRegex("listKeys|AccountKey=|SharedAccessKey|SharedAccessSignature|[?&]sig=|password", RegexOptions.IgnoreCase)]
    private static partial Regex Secret { get; }

    [GeneratedRegex("(?:Message has \\\\?\"|Functions\\.)([^\"' (\\\\]+(?: [^\"' (\\\\]+)*)")]
    private static partial Regex LookedFor { get; }

    [GeneratedRegex("'(keylime[a-z]+)'")]
    private static partial Regex BicepTable { get; }

    [GeneratedRegex("^(KEYLIME_SERVICE_(DATA|INTERVAL|AZURE_ACCOUNT|KEY_VAULT|OPERATOR_TOKEN|TRACE_RATIO|KEEP_VERDICTS|KEEP_EVENTS)|AzureWebJobsStorage__(accountName|credential|clientId)|KeylimeQueue__(queueServiceUri|credential|clientId)|AZURE_CLIENT_ID|AzureWebJobsDisableHomepage|APPLICATIONINSIGHTS_(CONNECTION|AUTHENTICATION)_STRING)$")]
    private static partial Regex Setting { get; }

    public static TheoryData<string> Files => [.. Directory.EnumerateFiles(Infra, "*.bicep*", SearchOption.AllDirectories).Where(static f => f.EndsWith(".bicep", StringComparison.Ordinal) || f.EndsWith(".bicepparam", StringComparison.Ordinal)).Select(static f => Path.GetRelativePath(Infra, f))];

    [Theory]
    [MemberData(nameof(Files))]
    public async Task It_compiles_without_a_diagnostic_and_is_formatted(string file)
    {
        var (exit, output) = await RunAsync(Infra, "lint", file);
        Assert.Equal((0, ""), (exit, output)); // warnings have the exit code 0
        (exit, output) = await RunAsync(Infra, "format", file, "--stdout");
        Assert.Equal(await File.ReadAllTextAsync(Path.Combine(Infra, file), TestContext.Current.CancellationToken), output);
    }

    [Theory]
    [InlineData("dev")]
    [InlineData("prod")]
    public async Task What_would_be_deployed_is_what_was_reviewed(string environment)
    {
        // Where it changed by intent: bicep snapshot infra/dev.bicepparam --mode overwrite, with the arguments below, and a look at the difference.
        var (exit, output) = await SnapshotAsync(Infra, environment);
        Assert.True(exit == 0, output);

        // A change that nobody reviewed is seen.
        var copy = Copy();
        var storage = Path.Combine(copy, "modules", "storage.bicep");
        await File.WriteAllTextAsync(storage, (await File.ReadAllTextAsync(storage, TestContext.Current.CancellationToken)).Replace("allowSharedKeyAccess: false", "allowSharedKeyAccess: true", StringComparison.Ordinal), TestContext.Current.CancellationToken);
        (exit, output) = await SnapshotAsync(copy, environment);
        Assert.NotEqual(0, exit);
        Assert.Contains("allowSharedKeyAccess", output, StringComparison.Ordinal);
        Directory.Delete(copy, recursive: true);
    }

    [Theory]
    [InlineData("dev", false)]
    [InlineData("prod", true)]
    public void What_is_deployed_is_closed_and_each_check_of_that_can_fail(string environment, bool isPrivate)
    {
        Assert.Empty(Objections(Load(environment), isPrivate));
        (string Type, string Words, Action<JsonNode> Alter)[] mistakes =
        [
            ("Microsoft.Storage/storageAccounts", "shared keys", static r => r["properties"]!["allowSharedKeyAccess"] = true),
            ("Microsoft.Storage/storageAccounts", "public blobs", static r => r["properties"]!["allowBlobPublicAccess"] = true),
            ("Microsoft.Storage/storageAccounts", "TLS", static r => r["properties"]!["minimumTlsVersion"] = "TLS1_0"),
            ("Microsoft.Storage/storageAccounts", "http", static r => r["properties"]!["supportsHttpsTrafficOnly"] = false),
            ("Microsoft.KeyVault/vaults", "purge", static r => r["properties"]!.AsObject().Remove("enablePurgeProtection")),
            ("Microsoft.KeyVault/vaults", "soft", static r => r["properties"]!["softDeleteRetentionInDays"] = 7),
            ("Microsoft.KeyVault/vaults", "RBAC", static r => r["properties"]!["enableRbacAuthorization"] = false),
            ("Microsoft.Web/sites", "https", static r => r["properties"]!["httpsOnly"] = false),
            ("Microsoft.Web/sites", "TLS", static r => r["properties"]!["siteConfig"]!["minTlsVersion"] = "1.0"),
            ("Microsoft.Web/sites", "setting", static r => r["properties"]!["siteConfig"]!["appSettings"]!.AsArray().Add(new JsonObject { ["name"] = "AzureWebJobsStorage", ["value"] = "x" })),
            ("Microsoft.Web/sites", "secret", static r => r["properties"]!["siteConfig"]!["appSettings"]![0]!["value"] = "AccountKey=AAAA"),
            ("Microsoft.Web/sites", "secret", static r => r["properties"]!["siteConfig"]!["appSettings"]![0]!["value"] = "[listKeys('a', '2025-01-01').keys[0].value]"),
            ("Microsoft.Web/sites", "identity", static r => r.AsObject().Remove("identity")),
            ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "passwords", static r => r["properties"]!["allow"] = true),
            ("Microsoft.Insights/components", "local authentication", static r => r["properties"]!["DisableLocalAuth"] = false),
            ("Microsoft.OperationalInsights/workspaces", "local authentication", static r => r["properties"]!["features"]!["disableLocalAuth"] = false),
            ("Microsoft.Authorization/roleAssignments", "role", static r => r["properties"]!["roleDefinitionId"] = "/x/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"), // Owner
            ("Microsoft.Authorization/roleAssignments", "role", static r => r["properties"]!["roleDefinitionId"] = "/x/14b46e9e-c2b7-41b4-b07b-48a6ebf60603"), // Crypto Officer
            ("Microsoft.Authorization/roleAssignments", "scope", static r => r["id"] = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Authorization/roleAssignments/a"),
            ("Microsoft.Insights/diagnosticSettings", "diagnostic", static r => r["id"] = "elsewhere"),
            ("Microsoft.Insights/diagnosticSettings", "diagnostic", static r => r["properties"]!["logs"] = new JsonArray()),
            ("Microsoft.OperationalInsights/workspaces", "too soon", static r => r["properties"]!["retentionInDays"] = 7),
            ("Microsoft.Insights/scheduledQueryRules", "nobody", static r => r["properties"]!["actions"]!["actionGroups"] = new JsonArray()),
            ("Microsoft.Insights/metricAlerts", "nobody", static r => r["properties"]!["actions"] = new JsonArray()),
            .. isPrivate
                ? new (string, string, Action<JsonNode>)[]
                {
                    ("Microsoft.Storage/storageAccounts", "public network", static r => r["properties"]!["publicNetworkAccess"] = "Enabled"),
                    ("Microsoft.KeyVault/vaults", "public network", static r => r["properties"]!["publicNetworkAccess"] = "Enabled"),
                    ("Microsoft.Network/privateEndpoints", "no private endpoint", static r => r["properties"]!["privateLinkServiceConnections"]![0]!["properties"]!["privateLinkServiceId"] = "elsewhere"),
                    ("Microsoft.Web/sites", "network of its own", static r => r["properties"]!.AsObject().Remove("virtualNetworkSubnetId")),
                    ("Microsoft.Insights/actionGroups", "nobody", static r => r["properties"]!["emailReceivers"] = new JsonArray()),
                }
                : [("Microsoft.Authorization/roleDefinitions", "more than rotate", static r => r["properties"]!["permissions"]![0]!["dataActions"]!.AsArray().Add("Microsoft.KeyVault/vaults/keys/delete"))],
        ];
        foreach (var (type, words, alter) in mistakes)
        {
            var snapshot = Load(environment);
            alter(snapshot.First(r => r["type"]!.GetValue<string>() == type));
            Assert.Contains(Objections(snapshot, isPrivate), o => o.Contains(words, StringComparison.Ordinal));
        }
    }

    [Fact]
    public void Its_alerts_look_for_what_is_written_and_kept()
    {
        var words = Load("prod").Where(static r => Text(r["type"]) == "Microsoft.Insights/scheduledQueryRules")
            .SelectMany(static r => LookedFor.Matches(Text(r["properties"]!["criteria"]!["allOf"]![0]!["query"])!)).Select(static m => m.Groups[1].Value).Order(StringComparer.Ordinal).ToList();
        Assert.Equal(["Gave up delivering", "Judged attestation", "Poisoned in the queue of deliveries", "trg-deliveries", "trg-sweep"], words);

        var messages = Directory.EnumerateFiles(Path.Combine(Checkout.Root, "functions"), "*.cs", SearchOption.AllDirectories).Select(File.ReadAllText).ToList();
        var logging = JsonNode.Parse(File.ReadAllText(Path.Combine(Checkout.Root, "host.json")))!["logging"]!;
        Assert.Equal("Information", Text(logging["logLevel"]!["Host.Function.Console"])); // where the host writes our lines
        Assert.Contains("Trace", Text(logging["applicationInsights"]!["samplingSettings"]!["excludedTypes"])!.Split(';'));
        foreach (var word in words)
        {
            if (word.StartsWith("trg-", StringComparison.Ordinal))
            {
                Assert.True(File.Exists(Path.Combine(Checkout.Root, "functions", "triggers", word, "function.json")), word);
                Assert.Equal("Information", Text(logging["logLevel"]!["Function." + word])); // where the host writes that it ran
            }
            else
            {
                Assert.Contains(messages, m => m.Contains($"Message = \"{word}", StringComparison.Ordinal));
            }
        }
    }

    [Fact]
    public void Its_tables_are_those_of_the_service()
    {
        var accounts = File.ReadAllText(Path.Combine(Checkout.Root, "functions", "Storage", "Azure", "AzureAccounts.cs"));
        var kinds = File.ReadAllText(Path.Combine(Checkout.Root, "functions", "Storage", "RecordKinds.cs"));
        var own = TableConstant.Matches(accounts).Select(static m => m.Groups[1].Value).Where(static t => t.Length > "keylime".Length)
            .Concat(RecordKind.Matches(kinds).Select(static m => "keylime" + m.Groups[1].Value)).Order(StringComparer.Ordinal);
        var list = File.ReadAllText(Path.Combine(Infra, "main.bicep"));
        list = list[list.IndexOf("var tables = [", StringComparison.Ordinal)..];
        Assert.Equal(own, BicepTable.Matches(list[..list.IndexOf(']', StringComparison.Ordinal)]).Select(static m => m.Groups[1].Value).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Its_queues_are_those_of_the_service_and_of_the_triggers_which_find_them()
    {
        var accounts = File.ReadAllText(Path.Combine(Checkout.Root, "functions", "Storage", "Azure", "AzureAccounts.cs"));
        string[] own = [.. QueueConstant.Matches(accounts).Select(static m => m.Groups[1].Value).Order(StringComparer.Ordinal)];
        Assert.Equal(["keylime-deliveries", "keylime-deliveries-poison"], own); // the host calls the poison queue so
        var resources = Load("prod");
        Assert.Equal(own, resources.Where(static r => Text(r["type"]) == "Microsoft.Storage/storageAccounts/queueServices/queues").Select(static r => Text(r["name"])!.Split('/')[^1]).Order(StringComparer.Ordinal));
        var settings = resources.Single(static r => Text(r["type"]) == "Microsoft.Web/sites")["properties"]!["siteConfig"]!["appSettings"]!.AsArray().Select(static s => Text(s!["name"])!).ToList();
        var triggers = Directory.EnumerateFiles(Path.Combine(Checkout.Root, "functions", "triggers"), "function.json", SearchOption.AllDirectories)
            .Select(static f => JsonNode.Parse(File.ReadAllText(f))!["bindings"]![0]!).Where(static b => Text(b["type"]) == "queueTrigger").ToList();
        Assert.Equal(own, triggers.Select(static t => Text(t["queueName"])!).Order(StringComparer.Ordinal));
        Assert.All(triggers, t => Assert.Equal("binary", Text(t["dataType"])));
        foreach (var part in (string[])["queueServiceUri", "credential", "clientId"])
            Assert.All(triggers, t => Assert.Contains($"{Text(t["connection"])}__{part}", settings));

        // The host and our own pump give up after the same.
        var queues = JsonNode.Parse(File.ReadAllText(Path.Combine(Checkout.Root, "host.json")))!["extensions"]!["queues"]!;
        var pump = File.ReadAllText(Path.Combine(Checkout.Root, "functions", "Notifications", "DeliveryPump.cs"));
        Assert.Contains($"MaxTaken = {queues["maxDequeueCount"]!.GetValue<int>()};", pump, StringComparison.Ordinal);
        Assert.Contains($"Again = TimeSpan.FromSeconds({TimeSpan.Parse(Text(queues["visibilityTimeout"])!, System.Globalization.CultureInfo.InvariantCulture).TotalSeconds});", pump, StringComparison.Ordinal);
    }

    private static IReadOnlyList<JsonNode> Load(string environment) => LoadFile(Path.Combine(Infra, environment + ".snapshot.json"));

    internal static IReadOnlyList<JsonNode> LoadFile(string path) =>
        [.. JsonNode.Parse(File.ReadAllText(path))!["predictedResources"]!.AsArray().Select(static r => r!)];

    internal static List<string> Objections(IReadOnlyList<JsonNode> resources, bool isPrivate)
    {
        var found = new List<string>();
        void Want(bool good, JsonNode resource, string words)
        {
            if (!good)
                found.Add($"{resource["name"]}: {words}");
        }

        foreach (var r in resources)
        {
            var p = r["properties"];
            Want(!Secret.IsMatch(r.ToJsonString(Plain)), r, "a secret is in it");
            switch (r["type"]!.GetValue<string>())
            {
                case "Microsoft.Storage/storageAccounts":
                    Want(Is(p?["allowSharedKeyAccess"], false), r, "shared keys open it");
                    Want(Is(p?["allowBlobPublicAccess"], false), r, "public blobs may be in it");
                    Want(Text(p?["minimumTlsVersion"]) is "TLS1_2" or "TLS1_3", r, "TLS is too old");
                    Want(Is(p?["supportsHttpsTrafficOnly"], true), r, "http reaches it");
                    Want(!isPrivate || Text(p?["publicNetworkAccess"]) == "Disabled", r, "the public network reaches it");
                    foreach (var service in (string[])["blobServices", "queueServices", "tableServices"])
                        Want(resources.Any(d => IsLogOf(d, $"/storageAccounts/{r["name"]}/{service}/")), r, $"no diagnostic setting of {service}");
                    foreach (var service in (string[])["blob", "table"])
                        Want(!isPrivate || resources.Any(e => IsEndpointOf(e, $"/storageAccounts/{r["name"]}", service)), r, $"no private endpoint of its {service}s");
                    break;
                case "Microsoft.KeyVault/vaults":
                    Want(Is(p?["enableSoftDelete"], true) && p?["softDeleteRetentionInDays"]?.GetValue<int>() == 90, r, "its soft delete is too short");
                    Want(!isPrivate || resources.Any(e => IsEndpointOf(e, $"/vaults/{r["name"]}", "vault")), r, "no private endpoint");
                    Want(Is(p?["enablePurgeProtection"], true), r, "who may delete it may purge it");
                    Want(Is(p?["enableRbacAuthorization"], true), r, "RBAC does not rule it");
                    Want(!isPrivate || Text(p?["publicNetworkAccess"]) == "Disabled", r, "the public network reaches it");
                    Want(resources.Any(d => IsLogOf(d, $"/vaults/{r["name"]}/")), r, "no diagnostic setting");
                    break;
                case "Microsoft.Web/sites":
                    Want(Is(p?["httpsOnly"], true), r, "it is not https only");
                    Want(Text(p?["siteConfig"]?["minTlsVersion"]) is "1.2" or "1.3", r, "TLS is too old");
                    Want(!isPrivate || Text(p?["virtualNetworkSubnetId"]) is not null, r, "it does not go out by a network of its own");
                    Want(Text(r["identity"]?["type"]) == "UserAssigned", r, "it has no identity of its own");
                    foreach (var setting in p?["siteConfig"]?["appSettings"]?.AsArray() ?? [])
                        Want(Setting.IsMatch(Text(setting!["name"]) ?? ""), r, $"setting '{setting["name"]}' is none that was looked at");
                    Want(resources.Any(d => IsLogOf(d, $"/sites/{r["name"]}/")), r, "no diagnostic setting");
                    break;
                case "Microsoft.Web/sites/basicPublishingCredentialsPolicies":
                    Want(Is(p?["allow"], false), r, "passwords deploy to it");
                    break;
                case "Microsoft.Insights/components":
                    Want(Is(p?["DisableLocalAuth"], true), r, "local authentication is on");
                    break;
                case "Microsoft.OperationalInsights/workspaces":
                    Want(Is(p?["features"]?["disableLocalAuth"], true), r, "local authentication is on");
                    Want(p?["retentionInDays"]?.GetValue<int>() >= 30, r, "its logs go too soon");
                    break;
                case "Microsoft.Insights/scheduledQueryRules":
                    Want(p?["actions"]?["actionGroups"] is JsonArray { Count: > 0 }, r, "nobody is told");
                    break;
                case "Microsoft.Insights/metricAlerts":
                    Want(p?["actions"] is JsonArray { Count: > 0 }, r, "nobody is told");
                    break;
                case "Microsoft.Insights/actionGroups":
                    Want(!isPrivate || p?["emailReceivers"] is JsonArray { Count: > 0 }, r, "nobody is told");
                    break;
                case "Microsoft.Authorization/roleDefinitions":
                    Want(p?["permissions"] is JsonArray { Count: 1 } allowed && allowed[0] is JsonObject { Count: 1 } only && only["dataActions"] is JsonArray { Count: 1 } actions
                        && Text(actions[0]) == "Microsoft.KeyVault/vaults/keys/rotate/action", r, "it allows more than rotate");
                    break;
                case "Microsoft.Authorization/roleAssignments":
                    var role = Text(p?["roleDefinitionId"])?.Split('/')[^1] ?? "";
                    if (resources.Any(d => Text(d["type"]) == "Microsoft.Authorization/roleDefinitions" && Text(d["id"]) == Text(p?["roleDefinitionId"])))
                    {
                        Want(Text(r["id"])!.Contains("/keys/keylime-wrap'", StringComparison.Ordinal), r, "its scope is not the key that is rotated");
                        break;
                    }

                    Want(Roles.TryGetValue(role, out var on), r, $"the role {role} is not one that may be given");
                    Want(on is null || Text(r["id"])!.Contains($"/providers/{on}/", StringComparison.Ordinal), r, "its scope is not the one resource that it is for");
                    break;
            }
        }

        return found;
    }

    private static bool IsLogOf(JsonNode resource, string part) =>
        Text(resource["type"]) == "Microsoft.Insights/diagnosticSettings" && Text(resource["id"])!.Contains(part, StringComparison.Ordinal)
        && resource["properties"]?["logs"] is JsonArray { Count: > 0 };

    private static bool IsEndpointOf(JsonNode resource, string target, string service) =>
        Text(resource["type"]) == "Microsoft.Network/privateEndpoints" && resource["properties"]?["privateLinkServiceConnections"]?[0]?["properties"] is { } link
        && Text(link["privateLinkServiceId"])!.EndsWith(target, StringComparison.Ordinal) && Text(link["groupIds"]?[0]) == service;

    private static bool Is(JsonNode? node, bool value) => node is JsonValue known && known.TryGetValue<bool>(out var seen) && seen == value;

    private static string? Text(JsonNode? node) => node is JsonValue known && known.TryGetValue<string>(out var seen) ? seen : null;

    /// <summary>The templates in a folder of their own, to be changed.</summary>
    internal static string Copy()
    {
        var copy = Directory.CreateTempSubdirectory("infra-").FullName;
        foreach (var path in Directory.EnumerateFiles(Infra, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(copy, Path.GetRelativePath(Infra, path));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(path, target);
        }

        return copy;
    }

    internal static Task<(int Exit, string Output)> SnapshotAsync(string folder, string environment, string mode = "validate") => RunAsync(
        folder, "snapshot", environment + ".bicepparam", "--mode", mode, "--subscription-id", "00000000-0000-0000-0000-000000000001", "--resource-group", "keylime", "--location", "westeurope",
        "--tenant-id", "00000000-0000-0000-0000-000000000002");

    private static async Task<(int Exit, string Output)> RunAsync(string folder, params IReadOnlyList<string> args)
    {
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(Bicep, File.GetUnixFileMode(Bicep) | UnixFileMode.UserExecute); // the package does not say that it is a program
        var start = new ProcessStartInfo(Bicep, args)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["KEYLIME_OPERATOR_TOKEN"] = Token, ["KEYLIME_ALERT_EMAIL"] = "alerts@example.org" },
        };
        start.Environment.Remove("KEYLIME_NAME"); // whoever runs this may deploy under another one
        using var process = Process.Start(start)!;
        var (output, error) = (process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken), process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, await output + await error);
    }
}

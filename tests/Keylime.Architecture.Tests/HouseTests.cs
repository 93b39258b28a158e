using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Keylime.Architecture.Tests;

/// <summary>How the house is built: who may use whom, and what holds everywhere.</summary>
public sealed partial class HouseTests
{
    // docs/architecture.md draws this.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["tpm"] = [],
        ["protocol"] = [],
        ["attestation"] = ["tpm"],
        ["functions"] = ["attestation", "protocol"],
        ["agent"] = ["protocol", "tpm"],
        ["tenant"] = ["attestation", "protocol"],
    };

    // Each is a decision: what a program of ours brings along.
    private static readonly Dictionary<string, string[]> Packages = new()
    {
        ["tpm"] = [],
        ["protocol"] = [],
        ["attestation"] = [],
        ["functions"] = ["Azure.Data.Tables", "Azure.Identity", "Azure.Storage.Blobs", "Microsoft.Data.Sqlite", "Microsoft.IdentityModel.JsonWebTokens", "Microsoft.IdentityModel.Protocols.OpenIdConnect"],
        ["agent"] = [],
        ["tenant"] = ["Spectre.Console", "System.CommandLine"],
    };

    [Fact]
    public void Projects_use_what_the_graph_allows_and_nothing_else()
    {
        foreach (var (folder, allowed) in Allowed)
        {
            var project = Project(folder);
            var references = project.Descendants("ProjectReference").Select(r => ((string)r.Attribute("Include")!).Split('/')[^2]);
            Assert.Equal(allowed, references.Order());
            var packages = project.Descendants("PackageReference").Select(r => (string)r.Attribute("Include")!);
            Assert.Equal(Packages[folder], packages.Order());
        }
    }

    [Fact]
    public void Every_folder_of_code_is_in_the_graph()
    {
        var folders = Directory.GetDirectories(Checkout.Root).Where(d => Directory.EnumerateFiles(d, "*.csproj").Any()).Select(Path.GetFileName);
        Assert.Equal(Allowed.Keys.Append("benchmarks").Order(), folders.Order());
    }

    [Fact]
    public void Attestation_reads_no_file_no_network_and_no_clock()
    {
        foreach (var file in Directory.EnumerateFiles(Path.Combine(Checkout.Root, "attestation"), "*.cs", SearchOption.AllDirectories))
        {
            var text = File.ReadAllText(file);
            Assert.False(Impure().IsMatch(text), Path.GetRelativePath(Checkout.Root, file));
        }
    }

    [Fact]
    public void Time_comes_from_a_TimeProvider()
    {
        foreach (var file in Checkout.Files("*.cs").Where(f => !f.EndsWith("HouseTests.cs", StringComparison.Ordinal)))
            Assert.False(WallClock().IsMatch(File.ReadAllText(file)), Path.GetRelativePath(Checkout.Root, file));
    }

    [Fact]
    public void A_suppression_says_why()
    {
        foreach (var file in Checkout.Files("*.cs").Where(f => !f.EndsWith("HouseTests.cs", StringComparison.Ordinal)))
        {
            foreach (var line in File.ReadAllLines(file))
            {
                if (line.Contains("#pragma warning disable", StringComparison.Ordinal))
                    Assert.True(line.Contains("//", StringComparison.Ordinal), $"{Path.GetRelativePath(Checkout.Root, file)}: {line}");
                if (line.Contains("[SuppressMessage(", StringComparison.Ordinal))
                    Assert.True(line.Contains("Justification", StringComparison.Ordinal), $"{Path.GetRelativePath(Checkout.Root, file)}: {line}");
            }
        }
    }

    [Fact]
    public void Files_are_short_enough_to_be_read()
    {
        var lengths = Checkout.Files("*.cs").Where(f => !Path.GetRelativePath(Checkout.Root, f).StartsWith("tests/", StringComparison.Ordinal))
            .Select(f => (File: Path.GetRelativePath(Checkout.Root, f), Lines: File.ReadAllLines(f).Length)).OrderBy(f => f.Lines).ToArray();
        Assert.True(lengths[^1].Lines <= 320, $"{lengths[^1]}");
        Assert.InRange(lengths[lengths.Length / 2].Lines, 1, 80);
    }

    [Fact]
    public void The_agent_listens_on_no_port_and_starts_no_program_but_a_local_action()
    {
        var action = Path.Combine(Checkout.Root, "agent", "Notices", "NativePrograms.cs");
        Assert.Matches(Starting(), File.ReadAllText(action));
        foreach (var folder in (string[])["agent", "tpm", "protocol"])
        {
            foreach (var file in Directory.EnumerateFiles(Path.Combine(Checkout.Root, folder), "*.cs", SearchOption.AllDirectories))
            {
                var text = File.ReadAllText(file);
                Assert.False(Listening().IsMatch(text) || file != action && Starting().IsMatch(text), Path.GetRelativePath(Checkout.Root, file));
            }
        }
    }

    [Fact]
    public void No_version_is_outside_the_central_file_and_every_project_has_its_lock_file()
    {
        foreach (var path in Checkout.Files("*.csproj"))
        {
            Assert.DoesNotContain(XDocument.Load(path).Descendants("PackageReference"), r => r.Attribute("Version") is not null);
            Assert.True(File.Exists(Path.Combine(Path.GetDirectoryName(path)!, "packages.lock.json")), path);
        }
    }

    [Fact]
    public void Links_between_documents_lead_somewhere()
    {
        foreach (var file in Checkout.Files("*.md"))
        {
            foreach (Match link in Link().Matches(File.ReadAllText(file)))
            {
                var target = link.Groups[1].Value;
                if (!target.Contains("://", StringComparison.Ordinal) && !target.StartsWith('#') && !target.StartsWith("mailto:", StringComparison.Ordinal))
                    Assert.True(Path.Exists(Path.Combine(Path.GetDirectoryName(file)!, target.Split('#')[0])), $"{Path.GetRelativePath(Checkout.Root, file)}: {target}");
            }
        }
    }

    [Fact]
    public void Every_command_and_option_of_the_tools_that_a_document_names_exists()
    {
        var sources = string.Join('\n', Directory.EnumerateFiles(Path.Combine(Checkout.Root, "tenant"), "*.cs", SearchOption.AllDirectories).Select(File.ReadAllText));
        foreach (var file in Checkout.Files("*.md").Where(f => !f.Contains("CHANGELOG", StringComparison.Ordinal)))
        {
            foreach (Match command in Command().Matches(File.ReadAllText(file)))
                Assert.True(sources.Contains($"\"{command.Groups[1].Value}\"", StringComparison.Ordinal), $"{Path.GetRelativePath(Checkout.Root, file)}: {command.Value}");
        }
    }

    private static XDocument Project(string folder) => XDocument.Load(Directory.EnumerateFiles(Path.Combine(Checkout.Root, folder), "*.csproj").Single());

    [GeneratedRegex(@"(?<![.\w])(File|Directory|Process|Environment|Console|Socket|HttpClient)\.\w|TimeProvider|\bSystem\.(IO|Net)\b")]
    private static partial Regex Impure();

    [GeneratedRegex(@"\bDateTime(Offset)?\.(Utc)?Now\b|\bStopwatch\b")]
    private static partial Regex WallClock();

    [GeneratedRegex(@"\bTcpListener\b|\bHttpListener\b|\.Listen\(|\.Bind\(")]
    private static partial Regex Listening();

    [GeneratedRegex(@"Process\.Start|ProcessStartInfo|""(execve|fexecve|fork|posix_spawn|system)""")]
    private static partial Regex Starting();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"(?:^|`|\n)keylime (\w+)\b")]
    private static partial Regex Command();
}

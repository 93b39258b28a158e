namespace Keylime.EndToEnd.Tests;

/// <summary>What ./test publishes before these tests: the programs as they are shipped.</summary>
internal static class Published
{
    public static string Agent => Find("Keylime.Agent", "keylime-agent");

    public static string Tenant => Find("Keylime.Tenant", "keylime");

    private static string Find(string project, string program)
    {
        var path = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "publish", project, "release_linux-x64", program));
        Assert.True(File.Exists(path), $"{path} is not there: ./test publishes it, or dotnet publish -c Release -r linux-x64.");
        return path;
    }
}

namespace Keylime.Demo;

/// <summary>What ./test publishes before its tests: the programs as they are shipped.</summary>
internal static class Published
{
    public static string Agent => Find("Keylime.Agent", "keylime-agent");

    public static string Tenant => Find("Keylime.Tenant", "keylime");

    /// <summary>The folder that the Functions host takes as it is.</summary>
    public static string Package => Path.GetDirectoryName(Find("Keylime.Functions", "Keylime.Functions"))!;

    private static string Find(string project, string program)
    {
        var path = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "..", "publish", project, "release_linux-x64", program));
        return File.Exists(path) ? path : throw new DemoException($"{path} is not there: ./test publishes it, or dotnet publish -c Release -r linux-x64.");
    }
}

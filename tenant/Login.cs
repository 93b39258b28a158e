using System.Text.Json;
using System.Text.Json.Serialization;
using Keylime.Tenant.Entra;

namespace Keylime.Tenant;

/// <summary>Which service, whom to trust for it, and what opens it.</summary>
/// <param name="CaPem">The one authority of its certificate; <see langword="null"/> for those that the system trusts.</param>
/// <param name="Token">One of the service's own.</param>
internal sealed record Login(Uri Url, string? CaPem, string? Token)
{
    /// <summary>Where tokens of Entra ID open it.</summary>
    public EntraLogin? Entra { get; init; }

    /// <summary>Where it is kept, so that what is renewed is kept too.</summary>
    [JsonIgnore]
    public Surroundings? Keeper { get; init; }

    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    /// <summary>From KEYLIME_URL, KEYLIME_CA and KEYLIME_TOKEN_FILE, and what is missing of them from the login that was kept.</summary>
    /// <exception cref="CliException">Something is missing or cannot be read.</exception>
    public static Login Load(Surroundings surroundings)
    {
        var path = PathIn(surroundings);
        var kept = File.Exists(path) ? Read(path) : null;
        var url = surroundings.Variable("KEYLIME_URL") is { Length: > 0 } text ? ParseUrl(text, "KEYLIME_URL") : kept?.Url;
        var ca = surroundings.Variable("KEYLIME_CA") is { Length: > 0 } caFile ? ReadText(caFile, "KEYLIME_CA") : kept?.CaPem;
        var token = surroundings.Variable("KEYLIME_TOKEN_FILE") is { Length: > 0 } tokenFile ? ReadText(tokenFile, "KEYLIME_TOKEN_FILE").Trim() : kept?.Token;

        // A token of Entra ID goes to the service that it was got for, and to no other that a variable names.
        var entra = surroundings.Variable("KEYLIME_TOKEN_FILE") is { Length: > 0 } || url != kept?.Url ? null : kept?.Entra;
        if (url is null || ca is null && kept is null || token is null && entra is null)
        {
            var missing = string.Join(", ", new[] { (url is null, "the URL"), (ca is null && kept is null, "the CA"), (token is null && entra is null, "the token") }.Where(m => m.Item1).Select(m => m.Item2));
            throw new CliException(Exits.Refused, $"not logged in: {missing} of the service is not known",
                "keylime login --url URL --ca FILE --token-file FILE, or keylime login --entra --url URL");
        }

        return new Login(url, ca, token) { Entra = entra, Keeper = surroundings };
    }

    /// <summary>Keeps a renewed login at Entra ID, if the file is still about the same service.</summary>
    public void KeepEntra(Surroundings surroundings, EntraLogin renewed)
    {
        var path = PathIn(surroundings);
        if (File.Exists(path) && Read(path) is { Entra: not null } kept && kept.Url == Url)
            (kept with { Entra = renewed }).Save(surroundings);
    }

    /// <summary>Keeps it in a file that nobody else may read.</summary>
    public void Save(Surroundings surroundings)
    {
        var path = PathIn(surroundings);
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(surroundings.ConfigFolder);
        else
            Directory.CreateDirectory(surroundings.ConfigFolder, Private | UnixFileMode.UserExecute);

        var beside = $"{path}.{Guid.NewGuid():N}.tmp";
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = Private;
        try
        {
            using (var file = new FileStream(beside, options))
                JsonSerializer.Serialize(file, this, LoginJson.Default.Login);
            File.Move(beside, path, overwrite: true);
        }
        finally
        {
            File.Delete(beside);
        }
    }

    public static string PathIn(Surroundings surroundings) => Path.Combine(surroundings.ConfigFolder, "login.json");

    /// <exception cref="CliException">It is no https URL.</exception>
    public static Uri ParseUrl(string text, string where) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme == Uri.UriSchemeHttps && url.UserInfo.Length == 0
            ? url
            : throw new CliException(Exits.Usage, $"{where}: '{PlainText.From(text)}' is no https URL", "for example https://keylime.example:8881");

    /// <exception cref="CliException">The file cannot be read.</exception>
    public static string ReadText(string path, string where)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, $"{where}: {e.Message}", "a file that can be read is expected");
        }
    }

    private static Login Read(string path)
    {
        try
        {
            return JsonSerializer.Deserialize(File.ReadAllBytes(path), LoginJson.Default.Login) ?? throw new JsonException("null");
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, $"the login in {path} cannot be read: {e.GetType().Name}", "log in again: keylime login");
        }
    }
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, WriteIndented = true, UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Login))]
internal sealed partial class LoginJson : JsonSerializerContext;

using System.Text.RegularExpressions;

namespace Keylime.Functions.Hosting;

/// <summary>Before routing: duplicate slashes become one, since upstream's agent makes them, and the request's own id is given back.</summary>
internal sealed partial class RequestNormalizer(RequestDelegate next)
{
    private const int MaxRequestId = 36;

    [GeneratedRegex("//+")]
    private static partial Regex Slashes { get; }

    [GeneratedRegex("[^A-Za-z0-9_]")]
    private static partial Regex NonWord { get; }

    public Task InvokeAsync(HttpContext context)
    {
        if (context.Request.Path.Value is { } path && path.Contains("//", StringComparison.Ordinal))
            context.Request.Path = Slashes.Replace(path, "/");

        if (context.Request.Headers["X-Request-ID"] is [{ Length: > 0 } id, ..])
        {
            var word = NonWord.Replace(id.Length <= MaxRequestId * 2 ? id : id[..(MaxRequestId * 2)], "");
            context.Response.Headers["X-Request-ID"] = word.Length <= MaxRequestId ? word : word[..MaxRequestId];
        }

        return next(context);
    }
}

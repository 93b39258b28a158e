using System.Globalization;
using Keylime.Protocol;
using Keylime.Protocol.Api;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Hosting;

/// <summary>A request that is not done, and why, in the shape of the API that was called.</summary>
/// <param name="Code">Stable, snake case.</param>
/// <param name="Detail">For a person: what, where, what was expected.</param>
internal sealed record Refusal(int Status, string Code, string Detail) : IResult
{
    /// <summary>What to do about it.</summary>
    public string? Hint { get; init; }

    /// <summary>A JSON pointer to what is wrong.</summary>
    public string? Pointer { get; init; }

    /// <summary>Whole seconds, at least 1.</summary>
    public int? RetryAfter { get; init; }

    /// <summary>Several things that are wrong with one message.</summary>
    public IReadOnlyList<ErrorObject>? Errors { get; init; }

    public Task ExecuteAsync(HttpContext httpContext)
    {
        var response = httpContext.Response;
        if (RetryAfter is { } seconds)
            response.Headers.RetryAfter = Math.Max(1, seconds).ToString(CultureInfo.InvariantCulture);
        if (Status == StatusCodes.Status401Unauthorized)
            response.Headers.WWWAuthenticate = "Bearer";

        var family = httpContext.GetEndpoint()?.Metadata.GetMetadata<RouteRules>()?.Family ?? ApiFamily.Own;
        IResult answer = family switch
        {
            ApiFamily.Registrar => Answer.Envelope(Status, Detail),
            ApiFamily.Own => Answer.Json(Status, new Problem($"urn:keylime:problem:{Code.Replace('_', '-')}", Title(Status), Status, Detail) { Hint = Hint },
                ApiJson.Default.Problem, MediaTypes.Problem),
            // Whoever asks without a valid token gets the shape of the sessions API, whatever was asked.
            ApiFamily.Sessions => Sessions(),
            ApiFamily.Attestations when Status == StatusCodes.Status401Unauthorized => Sessions(),
            _ => Answer.Json(Status,
                new ErrorDocument(Errors ?? [One()]) { Links = new() { Self = httpContext.Request.Path.Value }, Jsonapi = JsonApiVersion.Current },
                UpstreamJson.Default.ErrorDocument, MediaTypes.JsonApi),
        };
        return answer.ExecuteAsync(httpContext);
    }

    private Answer<ErrorDocument> Sessions() => Answer.Json(
        Status,
        new ErrorDocument([new ErrorObject(StatusText(), Detail) { Title = Title(Status), Code = Code }]),
        UpstreamJson.Default.ErrorDocument,
        MediaTypes.JsonApi);

    private ErrorObject One() =>
        new(StatusText(), Detail) { Code = Code, Source = Pointer is null ? null : new ErrorSource(Pointer) };

    private string StatusText() => Status.ToString(CultureInfo.InvariantCulture);

    private static string Title(int status) => Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status);
}

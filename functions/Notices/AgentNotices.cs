using System.Globalization;
using Keylime.Functions.Hosting;
using Keylime.Protocol;
using Keylime.Protocol.Notices;

namespace Keylime.Functions.Notices;

/// <summary><c>GET /v3.0/agents/{id}/notices</c>: for an agent that has more to catch up with than an attestation's answer carries.</summary>
internal static class AgentNotices
{
    public static void Map(IEndpointRouteBuilder routes) =>
        routes.MapGet("/agents/{id}/notices", HandleAsync).Under(
            new(Caller.Agent, ApiFamily.Attestations),
            new("What machines are told of each other, 16 at most.", null, NoticeBatchJson.Default.NoticeBatch) { Query = [QueryParameters.AfterNumber] });

    /// <summary>What is said of a number that cannot be; <see langword="null"/> of one that can, and of none.</summary>
    public static Refusal? Refused(long? after) => after is null or >= NoticeBatch.FromNowOn
        ? null
        : new Refusal(StatusCodes.Status400BadRequest, "invalid_request", Expected) { Pointer = "/meta/notices_after" };

    private const string Expected = "The number of a notice, 0, or -1 for none before now is expected.";

    private static async Task<IResult> HandleAsync(AgentId id, HttpContext context, NoticeBoard board, CancellationToken cancel)
    {
        var text = context.Request.Query[QueryParameters.After].ToString();
        var after = NoticeBatch.FromNowOn;
        return text.Length > 0 && (!long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out after) || after < NoticeBatch.FromNowOn)
            ? new Refusal(StatusCodes.Status400BadRequest, "invalid_query", Expected)
            : Answer.Json(StatusCodes.Status200OK, await board.ReadAsync(after, cancel), NoticeBatchJson.Default.NoticeBatch);
    }
}

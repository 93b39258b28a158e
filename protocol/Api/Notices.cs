using Keylime.Protocol.Notices;

namespace Keylime.Protocol.Api;

/// <summary>A notice as operators see it.</summary>
/// <param name="IsSigned">By the vault; what is not yet, because the vault did not answer, is told to nobody, and neither is what comes behind it.</param>
public sealed record PostedNotice(Notice Notice, bool IsSigned);

/// <summary><c>GET /v1/notices</c>: newest first.</summary>
public sealed record NoticeList(IReadOnlyList<PostedNotice> Notices)
{
    public string? Next { get; init; }
}

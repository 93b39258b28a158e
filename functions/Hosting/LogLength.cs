using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Keylime.Functions.Storage;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Hosting;

/// <summary>What an agent says of the length of the list that it sends compressed (<see cref="CompressedLog.LengthHeader"/>): it is held to it when the list is inflated.</summary>
internal static class LogLength
{
    /// <summary>Bytes of a log, compressed or not: what a body could have without compression.</summary>
    public const long Most = RouteRules.EvidenceBody;

    /// <param name="open">What was asked. Where no compressed list was, the header says nothing.</param>
    /// <param name="length">In bytes; <see langword="null"/> where nothing is said.</param>
    public static bool TryRead(HttpRequest request, OpenAttestation? open, out long? length, [NotNullWhen(false)] out Refusal? refusal)
    {
        (length, refusal) = (null, null);
        if (open?.Ima is not { Gzip: true } || request.Headers[CompressedLog.LengthHeader] is not { Count: > 0 } said)
            return true;

        if (said.Count > 1 || !long.TryParse(said[0], NumberStyles.None, CultureInfo.InvariantCulture, out var bytes))
            refusal = new Refusal(StatusCodes.Status400BadRequest, "invalid_request", $"{CompressedLog.LengthHeader} must be the list's bytes before it was compressed, in decimal digits, once.");
        else if (bytes > Most)
            refusal = new Refusal(StatusCodes.Status413PayloadTooLarge, "body_too_large", $"{CompressedLog.LengthHeader} says more than the {Most} bytes that a list may have.");
        else
            length = bytes;
        return refusal is null;
    }
}

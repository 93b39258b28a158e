using System.Buffers;
using System.Buffers.Text;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Keylime.Attestation;
using Keylime.Functions.Hosting;
using Keylime.Functions.Storage;
using Keylime.Protocol.Upstream;

namespace Keylime.Functions.Verifier;

/// <summary>Takes what an agent sends for evidence, if it has the form that was asked for; none of it is believed yet.</summary>
internal static class ReportedEvidence
{
    /// <summary>Lines of a measurement list in one request.</summary>
    public const int MaxLines = 1_000_000;

    private const string Collected = "/data/attributes/evidence_collected";

    public static bool TryRead(
        OpenAttestation open, AttestationAttributes attributes, [NotNullWhen(true)] out Evidence? evidence, [NotNullWhen(false)] out Refusal? refusal)
    {
        evidence = null;
        var wanted = open.Ima is null ? 1 : 2;
        refusal = attributes.EvidenceCollected switch
        {
            null => new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "evidence_collected is required"),
            var items when items.Count != wanted => Invalid("", $"must contain a number of elements equal to that which were requested: {wanted}"),
            [{ EvidenceType: EvidenceItem.TpmQuote }] when open.Ima is null => null,
            [{ EvidenceType: EvidenceItem.TpmQuote }, { EvidenceType: EvidenceItem.ImaLog }] when open.Ima is not null => null,
            _ => Invalid("", "must appear in the same order as the evidence requested"),
        };
        if (refusal is not null)
            return false;

        if (attributes.EvidenceCollected![0].Data is not { Message: { } message, Signature: { } signature, SubjectData: { } pcrs })
        {
            refusal = Invalid("/0/data", "must have message, signature and subject_data");
            return false;
        }

        ReadOnlyMemory<byte>? lines = null;
        if (open.Ima is { } ima && !TryReadLines(ima.Raw, attributes.EvidenceCollected[1].Data?.Entries ?? default, out lines, out refusal))
            return false;

        evidence = new Evidence(new QuoteEvidence(message, signature, pcrs), lines);
        return true;
    }

    private static bool TryReadLines(bool raw, ReadOnlyMemory<byte> entries, [NotNullWhen(true)] out ReadOnlyMemory<byte>? lines, [NotNullWhen(false)] out Refusal? refusal)
    {
        (lines, refusal) = (null, null);
        if (raw)
        {
            var bytes = new byte[Base64.GetMaxDecodedFromUtf8Length(entries.Length)];
            if (Base64.DecodeFromUtf8(entries.Span, bytes, out _, out var written) != OperationStatus.Done)
            {
                refusal = Invalid("/1/data/entries", "must be base64, as its format is application/octet-stream");
                return false;
            }

            entries = bytes.AsMemory(0, written);
        }

        if (entries.Span.Count((byte)'\n') > MaxLines)
        {
            refusal = Invalid("/1/data/entries", string.Create(CultureInfo.InvariantCulture, $"must have {MaxLines} lines at most"));
            return false;
        }

        lines = entries;
        return true;
    }

    private static Refusal Invalid(string where, string what) =>
        new(StatusCodes.Status422UnprocessableEntity, "invalid_resource_data", what) { Pointer = Collected + where };
}

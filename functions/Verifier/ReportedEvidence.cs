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

    /// <param name="declared">The bytes of a measurement list that comes compressed, where the agent said so.</param>
    public static bool TryRead(
        OpenAttestation open, AttestationAttributes attributes, long? declared, [NotNullWhen(true)] out Evidence? evidence, [NotNullWhen(false)] out Refusal? refusal)
    {
        evidence = null;
        string[] wanted = [EvidenceItem.TpmQuote, .. open.BootLog ? (string[])[EvidenceItem.UefiLog] : [], .. open.Ima is not null ? (string[])[EvidenceItem.ImaLog] : []];
        refusal = attributes.EvidenceCollected switch
        {
            null => new Refusal(StatusCodes.Status400BadRequest, "invalid_request", "evidence_collected is required"),
            var items when items.Count != wanted.Length => Invalid("", $"must contain a number of elements equal to that which were requested: {wanted.Length}"),
            var items when items.Zip(wanted).All(static pair => Is(pair.First, pair.Second)) => null,
            _ => Invalid("", "must appear in the same order as the evidence requested"),
        };
        if (refusal is not null)
            return false;

        if (attributes.EvidenceCollected![0].Data is not { Message: { } message, Signature: { } signature, SubjectData: { } pcrs })
        {
            refusal = Invalid("/0/data", "must have message, signature and subject_data");
            return false;
        }

        ReadOnlyMemory<byte>? bootLog = null;
        if (open.BootLog && !TryReadEntries(attributes.EvidenceCollected[1], "/1", ChosenParameters.OctetStream, null, out bootLog, out refusal))
            return false;

        ReadOnlyMemory<byte>? lines = null;
        if (open.Ima is { } ima)
        {
            var where = $"/{wanted.Length - 1}";
            if (!TryReadEntries(attributes.EvidenceCollected[^1], where, ima.Format, declared, out lines, out refusal))
                return false;
            if (lines.Value.Span.Count((byte)'\n') > MaxLines)
            {
                refusal = Invalid(where + "/data/entries", string.Create(CultureInfo.InvariantCulture, $"must have {MaxLines} lines at most"));
                return false;
            }
        }

        evidence = new Evidence(new QuoteEvidence(message, signature, pcrs), lines) { BootLog = bootLog };
        return true;
    }

    private static bool TryReadEntries(
        EvidenceItem item, string where, string format, long? declared, [NotNullWhen(true)] out ReadOnlyMemory<byte>? entries, [NotNullWhen(false)] out Refusal? refusal)
    {
        (entries, refusal) = (item.Data?.Entries ?? default, null);
        if (format == ChosenParameters.PlainText)
            return true;

        var bytes = new byte[Base64.GetMaxDecodedFromUtf8Length(entries.Value.Length)];
        if (Base64.DecodeFromUtf8(entries.Value.Span, bytes, out _, out var written) != OperationStatus.Done)
            refusal = Invalid(where + "/data/entries", $"must be base64, as its format is {format}");
        else if (format != ChosenParameters.Gzip)
            entries = bytes.AsMemory(0, written);
        else if (CompressedLog.TryInflate(bytes.AsMemory(0, written), declared, LogLength.Most, out var log, out var error))
            entries = log;
        else
            refusal = Invalid(where + "/data/entries", error);
        return refusal is null;
    }

    private static bool Is(EvidenceItem? item, string type) =>
        item?.EvidenceType == type && item.EvidenceClass == (type == EvidenceItem.TpmQuote ? EvidenceItem.Certification : EvidenceItem.Log);

    private static Refusal Invalid(string where, string what) =>
        new(StatusCodes.Status422UnprocessableEntity, "invalid_resource_data", what) { Pointer = Collected + where };
}

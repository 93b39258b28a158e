using System.Security.Cryptography;
using Keylime.Tpm;
using static Keylime.Attestation.FindingCodes;
using static Keylime.Attestation.QuoteResult;

namespace Keylime.Attestation;

/// <summary>Turns what a machine says of its PCRs into what its TPM says of them.</summary>
public static class Quote
{
    // The upstream push agent puts its key's hash into PCR 16 and quotes it besides what it was asked for.
    private static readonly PcrSet Tolerated = PcrSet.Of(16);

    /// <summary>Decides whether these PCR values were this TPM's at the time of this nonce.</summary>
    /// <remarks>
    /// In order, stopping at the first that fails:
    /// <list type="number">
    ///   <item>the signature is a TPMT_SIGNATURE;</item>
    ///   <item>of the scheme and the hash that were asked for, which are an accepted pair;</item>
    ///   <item>the attestation key signed these very bytes;</item>
    ///   <item>they are a TPMS_ATTEST of type quote;</item>
    ///   <item>its qualifying data is our nonce, so the quote is no replay;</item>
    ///   <item>its selection is what was asked for: one bank, once, all the PCRs, and none besides but PCR 16;</item>
    ///   <item>the values sent are for exactly the PCRs that were signed;</item>
    ///   <item>and hash to the digest that was signed.</item>
    /// </list>
    /// </remarks>
    public static QuoteResult Verify(AttestationKey key, QuoteRequest request, QuoteEvidence evidence)
    {
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(request);
        ArgumentNullException.ThrowIfNull(evidence);

        if (!TpmSignature.TryParse(evidence.Signature.Span, out var signature))
            return Reject(QuoteSignatureMalformed, "The signature is no TPMT_SIGNATURE of RSASSA, RSAPSS or ECDSA.");

        var scheme = new KeyScheme(signature.Scheme, signature.Hash);
        if (scheme != request.Scheme || scheme != key.Scheme || !AttestationKey.IsAcceptedHash(signature.Hash))
            return Reject(QuoteSchemeMismatch, $"The quote is signed with {scheme.Algorithm} and {scheme.Hash}; {request.Scheme.Algorithm} and {request.Scheme.Hash} were asked for.");

        if (!key.Verify(evidence.Message.Span, signature))
            return Reject(QuoteSignatureInvalid, "The attestation key did not sign this quote.");

        if (!QuoteStatement.TryParse(evidence.Message, out var statement))
            return Reject(QuoteMalformed, "What was signed is no TPMS_ATTEST of type quote.");

        if (!CryptographicOperations.FixedTimeEquals(statement.QualifyingData.Span, request.Nonce.Span))
            return Reject(QuoteNonceMismatch, "The quote answers another challenge.");

        if (statement.Selections is not [var signed] || signed.Bank != request.Asked.Bank)
            return Reject(QuoteSelectionMismatch, $"The quote is not over one selection of the bank asked for, {request.Asked.Bank}: it is over {Describe(statement)}.");

        if (!signed.Pcrs.Covers(request.Asked.Pcrs) || !signed.Pcrs.Except(Tolerated).Except(request.Asked.Pcrs).IsEmpty)
            return Reject(QuoteSelectionMismatch, $"The quote is over PCRs {signed.Pcrs}; {request.Asked.Pcrs} were asked for.");

        if (!TryParseValues(evidence.PcrBlob.Span, out var values, out var why))
            return Reject(QuotePcrValuesMalformed, $"The PCR values cannot be read: {why}");

        if (values.Selection.Bank != signed.Bank || values.Selection.Pcrs != signed.Pcrs)
            return Reject(QuoteSelectionMismatch, $"Values of PCRs {values.Selection.Pcrs} of {values.Selection.Bank} were sent; signed are {signed.Pcrs} of {signed.Bank}.");

        if (!CryptographicOperations.FixedTimeEquals(Digest(values, signature.Hash), statement.PcrDigest.Span))
            return Reject(QuotePcrMismatch, "The PCR values sent are not the ones quoted.");

        return new Verified(new VerifiedQuote(new VerifiedPcrs(values), statement.Clock, statement.FirmwareVersion));
    }

    // Part 3, 18.4: the digest over the selected PCRs' values, concatenated, with the signing scheme's hash
    private static byte[] Digest(PcrBlob values, TpmAlgorithm hash)
    {
        using var digest = IncrementalHash.CreateHash(hash.HashName());
        foreach (var value in values.Values)
            digest.AppendData(value.Span);
        return digest.GetHashAndReset();
    }

    private static bool TryParseValues(
        ReadOnlySpan<byte> blob,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out PcrBlob? values,
        [System.Diagnostics.CodeAnalysis.NotNullWhen(false)] out string? why)
    {
        try
        {
            (values, why) = (PcrBlob.Parse(blob), null);
            return true;
        }
        catch (TpmFormatException e)
        {
            (values, why) = (null, e.Message);
            return false;
        }
    }

    private static string Describe(QuoteStatement statement) =>
        statement.Selections.IsEmpty ? "nothing" : string.Join(" and ", statement.Selections.Select(static s => $"PCRs {s.Pcrs} of {s.Bank}"));
}

namespace Keylime.Attestation;

/// <summary>What came of verifying a quote: facts to build on, or the reason there are none.</summary>
public abstract record QuoteResult
{
    private QuoteResult()
    {
    }

    public sealed record Verified(VerifiedQuote Quote) : QuoteResult;

    public sealed record Rejected(Finding Finding) : QuoteResult;

    internal static Rejected Reject(string code, string detail) => new(new Finding(code, detail));
}

using System.Security.Cryptography;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>Which keys are taken for what, and how they prove it.</summary>
public sealed class KeyTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 24, 0, 0, 0, TimeSpan.Zero);

    [Theory]
    [InlineData(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.RsaPss, TpmAlgorithm.Sha384)]
    [InlineData(TpmAlgorithm.Ecdsa, TpmAlgorithm.Sha256)]
    public void Possession_is_proven_by_every_kind_of_key(TpmAlgorithm scheme, TpmAlgorithm hash)
    {
        using var tpm = new SoftwareTpm(scheme, hash);
        using var other = new SoftwareTpm(scheme, hash);
        using var key = Evidence.Key(tpm);
        var (message, signature) = tpm.Certify(Evidence.Nonce);
        Assert.Null(Possession.Verify(key, Evidence.Nonce, message, signature));

        Assert.Equal(FindingCodes.PossessionChallengeMismatch, Possession.Verify(key, new byte[32], message, signature)?.Code);
        Assert.Equal(FindingCodes.PossessionMalformed, Possession.Verify(key, Evidence.Nonce, message.AsMemory(0, message.Length - 1), tpm.Sign(message.AsSpan(0, message.Length - 1).ToArray()))?.Code);
        Assert.Equal(FindingCodes.PossessionSignatureMalformed, Possession.Verify(key, Evidence.Nonce, message, signature.AsMemory(0, signature.Length - 1))?.Code);
        var (theirs, theirSignature) = other.Certify(Evidence.Nonce);
        Assert.Equal(FindingCodes.PossessionSignatureInvalid, Possession.Verify(key, Evidence.Nonce, theirs, theirSignature)?.Code);
        var (named, namedSignature) = tpm.Certify(Evidence.Nonce, other.AttestationKey.ComputeName());
        Assert.Equal(FindingCodes.PossessionNameMismatch, Possession.Verify(key, Evidence.Nonce, named, namedSignature)?.Code);
        var quote = Evidence.Quote(tpm);
        Assert.Equal(FindingCodes.PossessionMalformed, Possession.Verify(key, Evidence.Nonce, quote.Message, quote.Signature)?.Code);
    }

    [Fact]
    public void A_challenge_that_can_be_guessed_is_a_bug_of_ours()
    {
        using var tpm = new SoftwareTpm();
        using var key = Evidence.Key(tpm);
        var (message, signature) = tpm.Certify(default(ReadOnlyMemory<byte>));
        Assert.ThrowsAny<ArgumentException>(() => Possession.Verify(key, [], message, signature));
    }

    [Theory]
    [InlineData(TpmAlgorithm.RsaSsa)]
    [InlineData(TpmAlgorithm.Ecdsa)]
    public void A_credential_opens_in_the_TPM_of_both_keys_and_nowhere_else(TpmAlgorithm scheme)
    {
        using var tpm = new SoftwareTpm(scheme);
        using var other = new SoftwareTpm(scheme);
        var secret = RandomNumberGenerator.GetBytes(32);
        for (var i = 0; i < 20; i++) // leading zeros come up by and by
        {
            var blob = Credential.Make(tpm.EndorsementKey, tpm.AttestationKey.ComputeName(), secret);
            Assert.Equal(secret, tpm.ActivateCredential(CredentialBlob.Parse(blob.Encode())));
        }

        var forOther = Credential.Make(tpm.EndorsementKey, other.AttestationKey.ComputeName(), secret);
        Assert.ThrowsAny<CryptographicException>(() => tpm.ActivateCredential(forOther));
        Assert.ThrowsAny<ArgumentException>(() => Credential.Make(tpm.AttestationKey, tpm.AttestationKey.ComputeName(), secret));
        Assert.ThrowsAny<ArgumentException>(() => Credential.Make(tpm.EndorsementKey, tpm.AttestationKey.ComputeName(), new byte[33]));
    }

    [Fact]
    public void What_is_no_attestation_key_is_refused()
    {
        using var tpm = new SoftwareTpm();
        var good = (PublicArea.Rsa)tpm.AttestationKey;
        Refuse(Rsa(good, attributes: good.Attributes & ~ObjectAttributes.Restricted), FindingCodes.KeyNotRestricted);
        Refuse(Rsa(good, attributes: good.Attributes & ~ObjectAttributes.FixedTpm), FindingCodes.KeyNotRestricted);
        Refuse(Rsa(good, attributes: good.Attributes | ObjectAttributes.Decrypt), FindingCodes.KeyNotRestricted);
        Refuse(Rsa(good, scheme: new KeyScheme(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha1)), FindingCodes.KeyUnsupported);
        Refuse(Rsa(good, scheme: KeyScheme.None), FindingCodes.KeyUnsupported);
        Refuse(tpm.EndorsementKey, FindingCodes.KeyNotRestricted);

        static void Refuse(PublicArea area, string code)
        {
            Assert.False(AttestationKey.TryCreate(area, out _, out var refusal));
            Assert.Equal(code, refusal.Code);
        }
    }

    [Fact]
    public void Endorsement_certificates()
    {
        using var tpm = new SoftwareTpm();
        using var other = new SoftwareTpm();
        var (root, stranger) = (TestCertificates.Root, TestCertificates.OtherRoot);
        var leaf = TestCertificates.Issue(tpm.EndorsementKey).RawData;
        var pem = PemEncoding.WriteString("CERTIFICATE", leaf);

        Assert.IsType<EndorsementResult.NoCertificate>(EndorsementKeys.Check(tpm.EndorsementKey, "", [root], Now));
        Assert.Equal(root.Subject, Assert.IsType<EndorsementResult.Chained>(EndorsementKeys.Check(tpm.EndorsementKey, pem, [stranger, root], Now)).Root);
        Assert.IsType<EndorsementResult.Chained>(EndorsementKeys.Check(tpm.EndorsementKey, Convert.ToBase64String(leaf), [root], Now));
        Assert.Contains(root.Subject, Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(tpm.EndorsementKey, pem, [stranger], Now)).Why, StringComparison.Ordinal);
        Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(tpm.EndorsementKey, pem, [], Now)); // no root is no trust
        Assert.IsType<EndorsementResult.Rejected>(EndorsementKeys.Check(tpm.EndorsementKey, pem, [root], Now.AddYears(40))); // after its time
        // A root that the agent sends along is trusted by nobody.
        Assert.IsType<EndorsementResult.Unchained>(EndorsementKeys.Check(tpm.EndorsementKey, pem + "\n" + root.ExportCertificatePem(), [stranger], Now));
        Assert.Equal(FindingCodes.EndorsementCertificateMismatch,
            Assert.IsType<EndorsementResult.Rejected>(EndorsementKeys.Check(other.EndorsementKey, pem, [root], Now)).Finding.Code);
        foreach (var text in (string[])["AAAA", "no base64!", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----"])
        {
            Assert.Equal(FindingCodes.EndorsementCertificateMalformed,
                Assert.IsType<EndorsementResult.Rejected>(EndorsementKeys.Check(tpm.EndorsementKey, text, [root], Now)).Finding.Code);
        }
    }

    [Fact]
    public void PCR_values()
    {
        using var tpm = new SoftwareTpm();
        var quote = Evidence.Verified(tpm);
        var (good, bad) = (new string('0', 64), new string('1', 64));
        Assert.Empty(Policy(("7", [bad, good])).Appraise(quote.Pcrs));
        Assert.Equal(FindingCodes.PcrValueNotAllowed, Policy(("7", [bad])).Appraise(quote.Pcrs).Single().Code);
        Assert.Equal(FindingCodes.PcrValueNotAllowed, Policy(("7", [new string('0', 40)])).Appraise(quote.Pcrs).Single().Code); // of another bank
        Assert.Equal(FindingCodes.PcrNotQuoted, Policy(("5", [good])).Appraise(quote.Pcrs).Single().Code);
        Assert.Equal(2, Policy(("0", [bad]), ("7", [bad])).Appraise(quote.Pcrs).Count());

        foreach (var (pcr, values) in ((string, string[])[])[("24", [good]), ("-1", [good]), ("x", [good]), ("7", []), ("7", ["zz"]), ("7", [good + "0"]), ("7", [""])])
            Assert.False(PcrPolicy.TryCreate(new Dictionary<string, IReadOnlyList<string>> { [pcr] = values }, out _, out _), pcr);
        Assert.False(PcrPolicy.TryCreate(new Dictionary<string, IReadOnlyList<string>>(), out _, out _));

        static PcrPolicy Policy(params (string Pcr, string[] Values)[] values)
        {
            Assert.True(PcrPolicy.TryCreate(values.ToDictionary(v => v.Pcr, v => (IReadOnlyList<string>)v.Values), out var policy, out var error), error);
            return policy;
        }
    }

    private static PublicArea.Rsa Rsa(PublicArea.Rsa of, ObjectAttributes? attributes = null, KeyScheme? scheme = null) => new()
    {
        NameAlgorithm = of.NameAlgorithm,
        Attributes = attributes ?? of.Attributes,
        AuthPolicy = of.AuthPolicy,
        Symmetric = of.Symmetric,
        Scheme = scheme ?? of.Scheme,
        KeyBits = of.KeyBits,
        Exponent = of.Exponent,
        Modulus = of.Modulus,
    };
}

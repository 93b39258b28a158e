using System.Globalization;
using Keylime.Testing;
using Keylime.Tpm;

namespace Keylime.Attestation.Tests;

/// <summary>A quote is what was asked for, by the key that was pinned, or it is nothing.</summary>
public sealed class QuoteTests
{
    [Theory]
    [InlineData(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha384)]
    [InlineData(TpmAlgorithm.RsaPss, TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.RsaPss, TpmAlgorithm.Sha512)]
    [InlineData(TpmAlgorithm.Ecdsa, TpmAlgorithm.Sha256)]
    [InlineData(TpmAlgorithm.Ecdsa, TpmAlgorithm.Sha384)]
    public void Every_scheme_verifies_and_proves_its_values(TpmAlgorithm scheme, TpmAlgorithm hash)
    {
        using var tpm = new SoftwareTpm(scheme, hash);
        tpm.Extend(TpmAlgorithm.Sha256, 7, new byte[32]);
        var quote = Evidence.Verified(tpm);
        Assert.Equal(tpm.Read(TpmAlgorithm.Sha256, 7), quote.Pcrs[7].ToArray());
        Assert.Equal(PcrSet.Of(0, 7, 10), quote.Pcrs.Covered);
        Assert.Equal(tpm.Clock, quote.Clock);
        Assert.Equal(tpm.FirmwareVersion, quote.FirmwareVersion);
    }

    [Theory]
    [InlineData(TpmAlgorithm.RsaSsa)]
    [InlineData(TpmAlgorithm.RsaPss)]
    [InlineData(TpmAlgorithm.Ecdsa)]
    public void No_single_bit_can_be_flipped(TpmAlgorithm scheme)
    {
        using var tpm = new SoftwareTpm(scheme);
        using var key = Evidence.Key(tpm);
        var request = new QuoteRequest(Evidence.Nonce, Evidence.Asked, key.Scheme);
        var good = Evidence.Quote(tpm);
        for (var part = 0; part < 3; part++)
        {
            var bytes = (part switch { 0 => good.Message, 1 => good.Signature, _ => good.PcrBlob }).ToArray();
            for (var bit = 0; bit < bytes.Length * 8; bit++)
            {
                bytes[bit / 8] ^= (byte)(1 << bit % 8);
                var forged = part switch { 0 => good with { Message = bytes }, 1 => good with { Signature = bytes }, _ => good with { PcrBlob = bytes } };
                Assert.True(Quote.Verify(key, request, forged) is QuoteResult.Rejected, $"part {part}, bit {bit}");
                bytes[bit / 8] ^= (byte)(1 << bit % 8);
            }
        }
    }

    [Theory]
    [InlineData(TpmAlgorithm.RsaSsa)]
    [InlineData(TpmAlgorithm.Ecdsa)]
    public void CVE_2023_3674_no_byte_of_the_key_can_be_changed(TpmAlgorithm scheme)
    {
        using var tpm = new SoftwareTpm(scheme);
        var request = new QuoteRequest(Evidence.Nonce, Evidence.Asked, tpm.AttestationKey.Scheme);
        var good = Evidence.Quote(tpm);
        var encoded = tpm.AttestationKey.Encode();
        var verified = 0;
        for (var at = 0; at < encoded.Length; at++)
        {
            encoded[at] ^= 1;
            if (PublicArea.TryParse(encoded, out var changed) && AttestationKey.TryCreate(changed, out var key, out _))
            {
                using (key)
                {
                    // The same modulus or point with other attributes verifies the signature, and is another key: nodes are pinned by name.
                    Assert.NotEqual(tpm.AttestationKey.ComputeName(), key.Name.ToArray());
                    var passes = Quote.Verify(key, request, good) is QuoteResult.Verified;
                    Assert.False(passes && at >= encoded.Length - (scheme == TpmAlgorithm.Ecdsa ? 2 * (2 + 32) : 256), $"byte {at}");
                    verified += passes ? 1 : 0;
                }
            }

            encoded[at] ^= 1;
        }

        Assert.InRange(verified, 0, 4); // bytes of the attributes
    }

    [Fact]
    public void No_part_can_be_cut_or_lengthened()
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        var good = Evidence.Quote(tpm);
        Func<QuoteEvidence, Func<ReadOnlyMemory<byte>, ReadOnlyMemory<byte>>, QuoteEvidence>[] parts =
        [
            (e, f) => e with { Message = f(e.Message) }, (e, f) => e with { Signature = f(e.Signature) }, (e, f) => e with { PcrBlob = f(e.PcrBlob) },
        ];
        foreach (var part in parts)
        {
            Assert.IsType<QuoteResult.Rejected>(Evidence.Verify(tpm, part(good, b => (byte[])[.. b.Span, 0])));
            for (var length = 0; length < 60; length++)
                Assert.IsType<QuoteResult.Rejected>(Evidence.Verify(tpm, part(good, b => b[..length])));
        }
    }

    [Fact]
    public void Bytes_at_random_are_refused_and_nothing_is_thrown()
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        var random = new Random(11);
        for (var i = 0; i < 5000; i++)
        {
            var bytes = new byte[random.Next(200)];
            random.NextBytes(bytes);
            Assert.IsType<QuoteResult.Rejected>(Evidence.Verify(tpm, new QuoteEvidence(bytes, bytes, bytes)));
            Assert.IsType<QuoteResult.Rejected>(Evidence.Verify(tpm, new QuoteEvidence(bytes, tpm.Sign(bytes), bytes))); // well signed
        }
    }

    [Fact]
    public void Another_keys_quote()
    {
        using var tpm = new SoftwareTpm();
        using var other = new SoftwareTpm();
        Assert.Equal(FindingCodes.QuoteSignatureInvalid, Evidence.Refusal(Evidence.Verify(tpm, Evidence.Quote(other))));
    }

    [Fact]
    public void Another_nonce_or_one_that_is_cut()
    {
        using var tpm = new SoftwareTpm();
        Assert.Equal(FindingCodes.QuoteNonceMismatch, Evidence.Refusal(Evidence.Verify(tpm, Evidence.Quote(tpm, nonce: new byte[32]))));
        Assert.Equal(FindingCodes.QuoteNonceMismatch, Evidence.Refusal(Evidence.Verify(tpm, Evidence.Quote(tpm, nonce: Evidence.Nonce[..31]))));
        Assert.Equal(FindingCodes.QuoteNonceMismatch, Evidence.Refusal(Evidence.Verify(tpm, Evidence.Quote(tpm, nonce: []))));
    }

    [Theory]
    [InlineData(TpmAlgorithm.Sha256, new[] { 0, 7 })]
    [InlineData(TpmAlgorithm.Sha256, new[] { 0, 7, 10, 11 })]
    [InlineData(TpmAlgorithm.Sha256, new[] { 0, 7, 11 })]
    [InlineData(TpmAlgorithm.Sha256, new int[0])]
    [InlineData(TpmAlgorithm.Sha1, new[] { 0, 7, 10 })]
    [InlineData(TpmAlgorithm.Sha384, new[] { 0, 7, 10 })]
    public void Other_PCRs_than_asked_for(TpmAlgorithm bank, int[] pcrs)
    {
        using var tpm = new SoftwareTpm();
        Assert.Equal(FindingCodes.QuoteSelectionMismatch, Evidence.Refusal(Evidence.Verify(tpm, Evidence.Quote(tpm, new PcrSelection(bank, PcrSet.Of(pcrs))))));
    }

    [Fact]
    public void PCR_16_may_come_along_because_upstream_agents_add_it()
    {
        using var tpm = new SoftwareTpm();
        Assert.IsType<QuoteResult.Verified>(Evidence.Verify(tpm, Evidence.Quote(tpm, new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0, 7, 10, 16)))));
    }

    [Fact]
    public void Banks_once_and_one_only()
    {
        using var tpm = new SoftwareTpm();
        PcrSelection[][] selections =
        [
            [Evidence.Asked, Evidence.Asked], [Evidence.Asked, new(TpmAlgorithm.Sha1, PcrSet.Of(0))], [new(TpmAlgorithm.Sha1, PcrSet.Of()), Evidence.Asked], [],
        ];
        foreach (var selection in selections)
        {
            var message = tpm.QuoteMessage(Evidence.Nonce, [.. selection], tpm.Digest([.. selection]));
            var forged = new QuoteEvidence(message, tpm.Sign(message), tpm.Values(Evidence.Asked).Encode());
            Assert.Equal(FindingCodes.QuoteSelectionMismatch, Evidence.Refusal(Evidence.Verify(tpm, forged)));
        }
    }

    [Fact]
    public void Values_that_are_not_those_signed()
    {
        using var tpm = new SoftwareTpm();
        var good = Evidence.Quote(tpm);
        tpm.Extend(TpmAlgorithm.Sha256, 10, new byte[32]);
        Assert.Equal(FindingCodes.QuotePcrMismatch, Evidence.Refusal(Evidence.Verify(tpm, good with { PcrBlob = tpm.Values(Evidence.Asked).Encode() })));
        var fewer = tpm.Values(new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of(0, 7))).Encode();
        Assert.IsType<QuoteResult.Rejected>(Evidence.Verify(tpm, good with { PcrBlob = fewer }));
        Assert.Equal(FindingCodes.QuotePcrValuesMalformed, Evidence.Refusal(Evidence.Verify(tpm, good with { PcrBlob = default })));
    }

    [Fact]
    public void A_structure_that_is_no_quote()
    {
        using var tpm = new SoftwareTpm();
        var (message, signature) = tpm.Certify(Evidence.Nonce);
        Assert.Equal(FindingCodes.QuoteMalformed, Evidence.Refusal(Evidence.Verify(tpm, new QuoteEvidence(message, signature, tpm.Values(Evidence.Asked).Encode()))));
    }

    [Fact]
    public void A_structure_that_no_TPM_made()
    {
        using var tpm = new SoftwareTpm();
        var message = Evidence.Quote(tpm).Message.ToArray();
        message[0] = 0; // TPM_GENERATED_VALUE: a restricted key signs nothing else that begins so
        Assert.Equal(FindingCodes.QuoteMalformed, Evidence.Refusal(Evidence.Verify(tpm, new QuoteEvidence(message, tpm.Sign(message), tpm.Values(Evidence.Asked).Encode()))));
    }

    [Fact]
    public void A_signature_of_another_scheme_or_hash()
    {
        using var ssa = new SoftwareTpm(TpmAlgorithm.RsaSsa);
        using var pss = new SoftwareTpm(TpmAlgorithm.RsaPss);
        using var long384 = new SoftwareTpm(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha384);
        using var ecc = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        foreach (var other in (SoftwareTpm[])[pss, long384, ecc])
            Assert.Equal(FindingCodes.QuoteSchemeMismatch, Evidence.Refusal(Evidence.Verify(ssa, Evidence.Quote(other))));
        var signature = Evidence.Quote(ssa).Signature.ToArray();
        signature[3] = 0x04; // says SHA-1
        Assert.Equal(FindingCodes.QuoteSchemeMismatch, Evidence.Refusal(Evidence.Verify(ssa, Evidence.Quote(ssa) with { Signature = signature })));
    }

    [Fact]
    public void A_request_that_asks_nothing_cannot_be_made()
    {
        var scheme = new KeyScheme(TpmAlgorithm.RsaSsa, TpmAlgorithm.Sha256);
        Assert.ThrowsAny<ArgumentException>(() => new QuoteRequest(new byte[15], Evidence.Asked, scheme));
        Assert.ThrowsAny<ArgumentException>(() => new QuoteRequest(default, Evidence.Asked, scheme));
        Assert.ThrowsAny<ArgumentException>(() => new QuoteRequest(new byte[32], new PcrSelection(TpmAlgorithm.Sha256, PcrSet.Of()), scheme));
    }

    [Theory]
    [InlineData("1000 1 0", "1000 1 0", null)]
    [InlineData("1000 1 0", "2000 1 0", null)]
    [InlineData("1000 1 0", "999 1 0", FindingCodes.QuoteClockWentBack)]
    [InlineData("1000 1 0", "5 2 0", null)] // a reset: the clock may start anew
    [InlineData("1000 1 7", "2000 2 0", null)] // slept, then rebooted
    [InlineData("1000 1 0", "5000 0 9", FindingCodes.QuoteResetWentBack)]
    [InlineData("1000 1 3", "2000 1 4", null)]
    [InlineData("1000 1 3", "2000 1 2", FindingCodes.QuoteResetWentBack)]
    [InlineData("1000 1 3", "999 1 4", FindingCodes.QuoteClockWentBack)]
    public void Clocks(string last, string now, string? finding)
    {
        Assert.Equal(finding, ClockRule.Compare(Clock(last), Clock(now)).Finding?.Code);
        Assert.Null(ClockRule.Compare(null, Clock(now)).Finding);

        static ClockInfo Clock(string text) => text.Split(' ') is [var ms, var resets, var restarts]
            ? new ClockInfo(ulong.Parse(ms, CultureInfo.InvariantCulture), uint.Parse(resets, CultureInfo.InvariantCulture), uint.Parse(restarts, CultureInfo.InvariantCulture), false)
            : throw new ArgumentException(text);
    }
}

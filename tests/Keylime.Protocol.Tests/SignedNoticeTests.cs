using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using CsCheck;
using Keylime.Protocol.Notices;

namespace Keylime.Protocol.Tests;

/// <summary>What one of the keys signed opens, and nothing else does.</summary>
public sealed class SignedNoticeTests : IDisposable
{
    private const string Header = """{"alg":"ES256","typ":"keylime-notice","kid":"v1"}""";
    private const string Payload = """{"number":7,"id":"evt_7","type":"node.failed","node":"rack-1","at":"2026-11-28T12:00:00+00:00"}""";

    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    [Fact]
    public void The_text_that_is_made_opens_to_the_bytes_that_were_signed()
    {
        var notice = new Notice(7, "evt_7", NoticeTypes.Failed, "rack-1", new DateTimeOffset(2026, 11, 28, 12, 0, 0, TimeSpan.Zero));
        var input = SignedNotice.SigningInput(notice, "v1");
        Assert.Equal($"{Encode(Header)}.{Encode(Payload)}", input);
        Assert.True(SignedNotice.TryOpen(SignedNotice.Join(input, Sign(input)), [_key], out var opened, out var json, out _));
        Assert.Equal(new NoticeHead(7, NoticeTypes.Failed, "rack-1"), opened);
        Assert.Equal(Payload, Encoding.UTF8.GetString(json));
    }

    [Theory]
    [InlineData(Header, Payload, true)]
    [InlineData(Header, """{"number":7,"id":"evt_7","type":"node.new","node":"rack-1","at":"2026-11-28T12:00:00+00:00","newer":1}""", true)]
    [InlineData("""{"typ":"keylime-notice","alg":"ES256","kid":"v2","jku":"https://evil.example/"}""", Payload, true)] // where a key is to be had is not looked at
    [InlineData("""{"alg":"none","typ":"keylime-notice","kid":"v1"}""", Payload, false)]
    [InlineData("""{"alg":"HS256","typ":"keylime-notice","kid":"v1"}""", Payload, false)]
    [InlineData("""{"alg":"es256","typ":"keylime-notice","kid":"v1"}""", Payload, false)]
    [InlineData("""{"alg":"ES256","typ":"JWT","kid":"v1"}""", Payload, false)] // what the key signs for other ends
    [InlineData("""{"alg":"ES256","kid":"v1"}""", Payload, false)]
    [InlineData("""{"alg":"ES256","typ":"keylime-notice","kid":"v1","crit":["b64"]}""", Payload, false)]
    [InlineData("""{"alg":"none","alg":"ES256","typ":"keylime-notice","kid":"v1"}""", Payload, false)]
    [InlineData(Header, """{"number":0,"id":"evt_7","type":"node.failed","node":"rack-1","at":"2026-11-28T12:00:00+00:00"}""", false)]
    [InlineData(Header, """{"number":7,"number":8,"id":"evt_7","type":"node.failed","node":"rack-1","at":"2026-11-28T12:00:00+00:00"}""", false)]
    [InlineData(Header, """{"number":7,"id":"evt_7","type":null,"node":"rack-1","at":"2026-11-28T12:00:00+00:00"}""", false)]
    [InlineData(Header, """{"number":7,"type":"x"}""", false)]
    [InlineData(Header, """{"number":7.5,"id":"evt_7","type":"x","node":"y"}""", false)]
    [InlineData(Header, """{"number":99999999999999999999,"id":"evt_7","type":"x","node":"y"}""", false)]
    [InlineData(Header, "[]", false)]
    [InlineData("[]", Payload, false)]
    [InlineData(Header, "null", false)]
    [InlineData("null", Payload, false)]
    public void Of_what_is_signed_only_a_notice_opens(string header, string payload, bool good)
    {
        var input = $"{Encode(header)}.{Encode(payload)}";
        Assert.Equal(good, SignedNotice.TryOpen(SignedNotice.Join(input, Sign(input)), [_key], out _, out var json, out var why));
        Assert.Equal(good ? payload : null, json is null ? null : Encoding.UTF8.GetString(json));
        Assert.Equal(good, why is null);
    }

    [Fact]
    public void Any_change_any_other_key_and_any_other_form_of_signature_is_refused()
    {
        var input = $"{Encode(Header)}.{Encode(Payload)}";
        var text = SignedNotice.Join(input, Sign(input));
        for (var i = 0; i < text.Length; i++)
        {
            Assert.False(Opens(text[..i]));
            Assert.False(Opens($"{text[..i]}{(text[i] == 'Q' ? 'g' : 'Q')}{text[(i + 1)..]}"), $"{i}");
        }

        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        Assert.False(SignedNotice.TryOpen(text, [other], out _, out _, out _));
        Assert.False(SignedNotice.TryOpen(text, [], out _, out _, out _));
        Assert.True(SignedNotice.TryOpen(text, [other, _key], out _, out _, out _));
        Assert.False(Opens(SignedNotice.Join(input, _key.SignData(Encoding.ASCII.GetBytes(input), HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence))));
        Assert.False(Opens(SignedNotice.Join(input, new byte[64])));
        Assert.False(Opens(text + "."));
        Assert.False(Opens(text + new string('A', SignedNotice.MaxLength)));
    }

    [Fact]
    public void Any_text_is_refused_without_an_exception() => Gen.String[0, 300].Sample(text => !Opens(text) && !Opens($"{text}.{text}.{text}"));

    private bool Opens(string text) => SignedNotice.TryOpen(text, [_key], out _, out _, out _);

    private byte[] Sign(string input) => _key.SignData(Encoding.ASCII.GetBytes(input), HashAlgorithmName.SHA256);

    private static string Encode(string json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json));

    public void Dispose() => _key.Dispose();
}

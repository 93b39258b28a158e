using System.Text;
using System.Text.Json.Nodes;
using Keylime.Functions.Hosting;
using Keylime.Functions.Notifications;

namespace Keylime.Functions.Tests;

/// <summary>A message of the queue of deliveries, and the envelopes that the Functions host puts it into.</summary>
public sealed class QueueMessageTests
{
    private const string Channel = "0123456789abcdef0123456789abcdef";
    private const string Message = $$"""{"version":1,"channel":"{{Channel}}"}""";

    public static TheoryData<string, string> Envelopes => new()
    {
        { "binary, as our host.json has it", Data(Convert.ToBase64String(Encoding.UTF8.GetBytes(Convert.ToBase64String(Encoding.UTF8.GetBytes(Message))))) },
        { "the queue's own text, as JSON once more", Data(Quoted(Convert.ToBase64String(Encoding.UTF8.GetBytes(Message)))) },
        { "binary, Base64 once", Data(Convert.ToBase64String(Encoding.UTF8.GetBytes(Message))) },
        { "text, as JSON once more", Data(Quoted(Message)) },
        { "text, encoded once", Data(Message) },
    };

    [Theory]
    [MemberData(nameof(Envelopes))]
    public void An_envelope_gives_the_message_however_often_it_is_encoded(string how, string envelope)
    {
        Assert.True(QueueTrigger.TryOpen(Encoding.UTF8.GetBytes(envelope), out var message, out var why), $"{how}: {why}");
        Assert.Equal(Message, Encoding.UTF8.GetString(message.Span));
        Assert.True(DeliveryWork.TryRead(message.Span, out var work, out why), why);
        Assert.Equal((Channel, null), (work.Channel, work.Due));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{}")]
    [InlineData("""{"Data":null}""")]
    [InlineData("""{"Data":[]}""")]
    [InlineData("""{"Data":{}}""")]
    [InlineData("""{"Data":{"item":null}}""")]
    [InlineData("""{"Data":{"item":{"version":1}}}""")]
    [InlineData("""{"Data":{"item":7}}""")]
    [InlineData("""{"data":{"item":"e30="}}""")]
    [InlineData("""{"Data":{"message":"e30="}}""")]
    [InlineData("""{"Data":{"item":"\ud800"}}""")]
    public void What_is_no_envelope_is_refused(string envelope) => Assert.False(QueueTrigger.TryOpen(Encoding.UTF8.GetBytes(envelope), out _, out _));

    [Theory]
    [InlineData("", "byte 0")]
    [InlineData("null", "null")]
    [InlineData("{}", "not the JSON")]
    [InlineData("""{"version":2,"channel":"0123456789abcdef0123456789abcdef"}""", "version 2")]
    [InlineData("""{"version":"1","channel":"0123456789abcdef0123456789abcdef"}""", "not the JSON")]
    [InlineData("""{"version":1,"channel":null}""", "not the JSON")]
    [InlineData("""{"version":1,"channel":"0123456789abcdef0123456789abcde"}""", "31 characters")]
    [InlineData("""{"version":1,"channel":"0123456789ABCDEF0123456789abcdef"}""", "lower-case hex")]
    [InlineData("""{"version":1,"channel":"0123456789abcdef0123456789abcdef","node":"a"}""", "not the JSON")]
    [InlineData("""{"version":1,"version":1,"channel":"0123456789abcdef0123456789abcdef"}""", "not the JSON")]
    [InlineData("""{"version":1,"channel":"0123456789abcdef0123456789abcdef"} x""", "not the JSON")]
    public void What_is_no_message_is_refused_and_says_why(string message, string expected)
    {
        Assert.False(DeliveryWork.TryRead(Encoding.UTF8.GetBytes(message), out _, out var why));
        Assert.Contains(expected, why, StringComparison.Ordinal);
    }

    [Fact]
    public void Any_bytes_are_read_or_refused()
    {
        var random = new Random(2026);
        var good = Encoding.UTF8.GetBytes(Data(Quoted(Message)));
        for (var i = 0; i < 20_000; i++)
        {
            byte[] bytes = [.. good];
            for (var changes = random.Next(1, 5); changes > 0; changes--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            bytes = bytes[..random.Next(bytes.Length + 1)];
            _ = QueueTrigger.TryOpen(bytes, out var message, out _);
            _ = DeliveryWork.TryRead(message.Span, out _, out _);
            _ = DeliveryWork.TryRead(bytes, out _, out _);
        }
    }

    [Fact]
    public void What_is_written_is_read()
    {
        var due = new DateTimeOffset(2026, 11, 28, 1, 2, 3, TimeSpan.Zero);
        foreach (var work in (DeliveryWork[])[new(1, Channel), new(1, Channel) { Due = due }])
        {
            Assert.True(DeliveryWork.TryRead(work.Write(), out var read, out var why), why);
            Assert.Equal(work, read);
        }

        Assert.Equal(Message, Encoding.UTF8.GetString(new DeliveryWork(1, Channel).Write())); // programs of other versions read it
    }

    private static string Data(string item) => new JsonObject { ["Data"] = new JsonObject { ["item"] = item }, ["Metadata"] = new JsonObject { ["DequeueCount"] = "1" } }.ToJsonString();

    private static string Quoted(string text) => JsonValue.Create(text).ToJsonString();
}

using System.Net;

namespace Keylime.Agent.Tests;

/// <summary>What a service says when it refuses, as a person reads it in the journal.</summary>
public sealed class RefusalTests
{
    private const string Start = "GET version: 403 ";

    [Theory]
    [InlineData("""{"code":403,"status":"The TPM of \u0027n\u0027 is not known.","results":{}}""", "The TPM of 'n' is not known.")] // Keylime v2
    [InlineData("""{"errors":[{"status":"403","detail":"It is retired."}]}""", "It is retired.")] // JSON:API
    [InlineData("""{"type":"urn:x","title":"Forbidden","status":403,"detail":"No."}""", "No.")] // problem details
    [InlineData("""{"code":403}""", """{"code":403}""")]
    [InlineData("""["status"]""", """["status"]""")]
    [InlineData("""{"errors":[7]}""", """{"errors":[7]}""")]
    [InlineData("<html>\r\nno\u001b[2J", "<html>  no [2J")]
    [InlineData("", "")]
    public async Task Is_told_in_its_own_words(string body, string told)
    {
        await using var service = await ScriptedService.StartAsync(_ => Scripted.Json(403, body));
        using var client = new ServiceClient(service.Url, "");
        var refused = await Assert.ThrowsAsync<ServiceRefusedException>(() => client.SendAsync(HttpMethod.Get, "version", null, null, static s => s == HttpStatusCode.OK, TestContext.Current.CancellationToken));
        Assert.Equal((Start + told).TrimEnd(), refused.Message.TrimEnd());
    }
}

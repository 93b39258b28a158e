global using Asked = Keylime.Testing.Asked;
global using Collected = Keylime.Testing.Collected;
global using Reply = Keylime.Testing.Reply;
using Keylime.Testing;

namespace Keylime.Functions.Tests;

/// <summary>Requests of a test, on its client.</summary>
internal static class Http
{
    public const string JsonApi = Wire.JsonApi;

    public static Task<Reply> SendAsync(this HttpClient client, string method, string path, object? body = null, string contentType = Wire.Json, string? token = null) =>
        Wire.SendAsync(client, method, path, body, contentType, token, TestContext.Current.CancellationToken);
}

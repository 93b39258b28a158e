using System.Globalization;
using System.Text.Json;
using Keylime.Protocol.Api;

namespace Keylime.Tenant.Entra;

/// <summary>Gets tokens of Entra ID: the few requests that it takes, as its protocol has them.</summary>
internal sealed class EntraClient : IDisposable
{
    private const int MaxAnswer = 256 * 1024;
    private const int MaxTries = 4;
    private const string DeviceGrant = "urn:ietf:params:oauth:grant-type:device_code"; // RFC 8628, 3.4
    private const string AssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"; // RFC 7523, 2.2
    private const string MetadataService = "http://169.254.169.254/metadata/identity/oauth2/token"; // link-local: it never leaves the host
    private static readonly TimeSpan DefaultInterval = TimeSpan.FromSeconds(5); // RFC 8628, 3.2 and 3.5

    private readonly Surroundings _surroundings;
    private readonly HttpClient _http;

    public EntraClient(Surroundings surroundings, EntraWay way)
    {
        _surroundings = surroundings;

        // What is asked of the machine itself goes through no proxy.
        var handler = surroundings.IssuerHandler?.Invoke()
            ?? new SocketsHttpHandler { AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(10), UseProxy = way != EntraWay.ManagedIdentity };
        _http = new HttpClient(handler) { Timeout = TimeSpan.FromSeconds(60), MaxResponseContentBufferSize = MaxAnswer };
    }

    public void Dispose() => _http.Dispose();

    /// <summary>A person signs in: the code is shown, and the person enters it in a browser anywhere.</summary>
    /// <exception cref="CliException">Entra ID, or the person, refuses; or nobody came in time.</exception>
    public async Task<EntraLogin> SignInAsync(EntraSignIn at, Action<string> show, CancellationToken cancel)
    {
        var scope = $"{at.Scope} openid profile offline_access";
        var begun = await PostAsync(at, "devicecode", new() { ["client_id"] = at.ClientId, ["scope"] = scope }, cancel);
        if (begun is not { DeviceCode: { Length: > 0 } code, UserCode: { Length: > 0 } shown, VerificationUri: { } text } || !Uri.TryCreate(text, UriKind.Absolute, out var page) || page.Scheme != Uri.UriSchemeHttps)
            throw Refused(begun);

        show($"Open {PlainText.From(page.ToString())} in a browser, and enter the code {PlainText.From(shown)}");
        var interval = begun.Interval is > 0 and <= 600 and var seconds ? TimeSpan.FromSeconds(seconds) : DefaultInterval;
        var end = _surroundings.Clock.GetUtcNow().AddSeconds(begun.ExpiresIn is > 0 and <= 3600 and var lives ? lives : 900);
        while (true)
        {
            await Task.Delay(interval, _surroundings.Clock, cancel);
            if (_surroundings.Clock.GetUtcNow() >= end)
                throw new CliException(Exits.Refused, "nobody signed in before the code ended", "keylime login --entra, and enter the code within its time");
            var answer = await PostAsync(at, "token", new() { ["grant_type"] = DeviceGrant, ["client_id"] = at.ClientId, ["device_code"] = code }, cancel);
            switch (answer.Error)
            {
                case null:
                    return Made(new EntraLogin(EntraWay.DeviceCode, at), answer);
                case "authorization_pending":
                    break;
                case "slow_down":
                    interval += DefaultInterval;
                    break;
                default:
                    throw Refused(answer);
            }
        }
    }

    /// <summary>Another token in the place of one that ends.</summary>
    /// <exception cref="CliException">There is none to be had.</exception>
    public async Task<EntraLogin> RenewAsync(EntraLogin login, CancellationToken cancel) => Made(login, login.Way switch
    {
        EntraWay.DeviceCode => await PostAsync(login.At, "token", new()
        {
            ["grant_type"] = "refresh_token",
            ["client_id"] = login.At.ClientId,
            ["refresh_token"] = login.RefreshToken ?? throw new CliException(Exits.Refused, "the login at Entra ID has ended", "keylime login --entra"),
            ["scope"] = $"{login.At.Scope} openid profile offline_access",
        }, cancel),
        EntraWay.Workload => await PostAsync(login.At, "token", new()
        {
            ["grant_type"] = "client_credentials",
            ["client_id"] = login.At.ClientId,
            ["client_assertion_type"] = AssertionType,
            ["client_assertion"] = Login.ReadText(Needed(WorkloadVariables.TokenFile), WorkloadVariables.TokenFile).Trim(),
            ["scope"] = login.At.Scope,
        }, cancel),
        EntraWay.ManagedIdentity => await AskMachineAsync(login.At, cancel),
        _ => throw new System.Diagnostics.UnreachableException(),
    });

    private string Needed(string variable) => _surroundings.Variable(variable) is { Length: > 0 } value
        ? value
        : throw new CliException(Exits.Usage, $"{variable} is not set", "the platform that federates the identity sets it: AZURE_FEDERATED_TOKEN_FILE, AZURE_CLIENT_ID, AZURE_TENANT_ID");

    // Two forms: that of App Service, Functions and Container Apps, whose end point and secret stand in the environment; and that of virtual machines.
    private async Task<EntraAnswer> AskMachineAsync(EntraSignIn at, CancellationToken cancel)
    {
        const string everything = "/.default"; // of scopes; managed identities are asked for the resource
        var resource = at.Scope.EndsWith(everything, StringComparison.Ordinal) ? at.Scope[..^everything.Length] : at.Scope;
        var identity = at.ClientId.Length > 0 ? $"&client_id={Uri.EscapeDataString(at.ClientId)}" : "";
        var (endpoint, secret) = (_surroundings.Variable("IDENTITY_ENDPOINT"), _surroundings.Variable("IDENTITY_HEADER"));
        var ofPlatform = endpoint is { Length: > 0 } && secret is { Length: > 0 };
        var address = (ofPlatform ? $"{endpoint}?api-version=2019-08-01" : $"{MetadataService}?api-version=2018-02-01") + $"&resource={Uri.EscapeDataString(resource)}{identity}";
        if (!Uri.TryCreate(address, UriKind.Absolute, out var url))
            throw new CliException(Exits.Usage, "IDENTITY_ENDPOINT is no URL", "the platform sets it; nobody else should");

        for (var tries = 1; ; tries++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            if (ofPlatform)
                request.Headers.TryAddWithoutValidation("X-IDENTITY-HEADER", secret);
            else
                request.Headers.Add("Metadata", "true");
            var (status, answer) = await SendAsync(request, cancel);
            if (status is not (404 or 410 or 429 or >= 500) || tries == MaxTries)
                return answer;
            await Task.Delay(TimeSpan.FromSeconds(1 << tries), _surroundings.Clock, cancel); // it may be starting
        }
    }

    private async Task<EntraAnswer> PostAsync(EntraSignIn at, string endpoint, Dictionary<string, string> form, CancellationToken cancel)
    {
        if (at.Authority.Scheme != Uri.UriSchemeHttps || !Guid.TryParse(at.Tenant, out var tenant))
            throw new CliException(Exits.Usage, "where to sign in is no https URL and no tenant's GUID", "--authority and --tenant, or what the service says under /v1/sign-in");
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(at.Authority, $"/{tenant:D}/oauth2/v2.0/{endpoint}"));
        using var content = new FormUrlEncodedContent(form);
        request.Content = content;
        return (await SendAsync(request, cancel)).Answer;
    }

    private async Task<(int Status, EntraAnswer Answer)> SendAsync(HttpRequestMessage request, CancellationToken cancel)
    {
        var host = request.RequestUri!.GetLeftPart(UriPartial.Authority);
        try
        {
            using var response = await _http.SendAsync(request, cancel);
            var bytes = await response.Content.ReadAsByteArrayAsync(cancel);
            var answer = JsonSerializer.Deserialize(bytes, EntraJson.Default.EntraAnswer) ?? new EntraAnswer();
            return ((int)response.StatusCode, response.IsSuccessStatusCode || answer.Error is not null ? answer : new EntraAnswer { Error = $"{(int)response.StatusCode}" });
        }
        catch (JsonException)
        {
            throw new CliException(Exits.Failed, $"{host} answered with what is no JSON of OAuth", "is this Entra ID, or a proxy in front of it?");
        }
        catch (HttpRequestException e)
        {
            throw new CliException(Exits.Failed, $"{host} cannot be reached: {PlainText.From(e.InnerException?.Message ?? e.Message)}", "is there a way to it from here?");
        }
        catch (TaskCanceledException) when (!cancel.IsCancellationRequested)
        {
            throw new CliException(Exits.Failed, $"{host} did not answer within {_http.Timeout.TotalSeconds:0} s", "try again");
        }
    }

    private EntraLogin Made(EntraLogin login, EntraAnswer answer)
    {
        if (answer.Error is not null || answer.AccessToken is not { Length: > 0 } token || !token.All(static c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            throw Refused(answer);
        var now = _surroundings.Clock.GetUtcNow();
        var end = answer switch
        {
            { ExpiresIn: > 0 and <= 864_000 and var seconds } => now.AddSeconds(seconds),
            { ExpiresOn: > 0 and <= 253_402_300_799 and var at } => DateTimeOffset.FromUnixTimeSeconds(at),
            _ => now, // used once, and got anew
        };
        return login with { AccessToken = token, RefreshToken = answer.RefreshToken ?? login.RefreshToken, ExpiresAt = end };
    }

    private static CliException Refused(EntraAnswer answer)
    {
        // The first line says it; what follows are ids and times for Microsoft's support.
        var words = PlainText.From((answer.ErrorDescription ?? "").Split('\r', '\n')[0]);
        var what = PlainText.From(answer.Error ?? "an answer without a token");
        return new CliException(Exits.Refused, string.Create(CultureInfo.InvariantCulture, $"Entra ID gives no token: {what}{(words.Length > 0 ? ": " + words : "")}"), answer.Error switch
        {
            "invalid_grant" or "interaction_required" => "the login has ended, or the directory wants more: keylime login --entra",
            "authorization_declined" or "access_denied" => "the person at the browser said no",
            "expired_token" or "code_expired" => "keylime login --entra, and enter the code within its time",
            "invalid_client" or "unauthorized_client" => "the application must allow public client flows: docs/sign-in.md",
            _ => "docs/sign-in.md says how the application is registered",
        });
    }
}

/// <summary>What platforms that federate an identity set.</summary>
internal static class WorkloadVariables
{
    public const string TokenFile = "AZURE_FEDERATED_TOKEN_FILE";
    public const string ClientId = "AZURE_CLIENT_ID";
    public const string TenantId = "AZURE_TENANT_ID";
}

using System.Buffers.Text;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Azure;
using Azure.Core;
using Azure.Core.Pipeline;
using Azure.Identity;
using Keylime.Functions.Storage;

namespace Keylime.Functions.Keys.Azure;

/// <summary>
/// Azure Key Vault by its REST API (get key, list versions, <c>unwrapkey</c>, <c>sign</c>, <c>rotate</c>): private keys stay there. The rights it takes: <c>keys/get</c>, <c>keys/unwrapKey</c>,
/// <c>keys/sign</c>, <c>keys/list</c> where the newest version may be disabled, and <c>keys/rotate</c> for who wants to rotate from here.
/// </summary>
internal sealed class KeyVault : IVault
{
    private const string ApiVersion = "7.4";
    private const string WrapAlgorithm = "RSA-OAEP-256";
    private const string SignAlgorithm = "ES256";
    private const int MinRsaBits = 2048;
    private const int MaxAnswer = 64 * 1024;
    private const int PageSize = 25; // as many as it gives
    private const int MaxPages = 40;
    private static readonly TimeSpan KeysKept = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan LongestRest = TimeSpan.FromMinutes(5);

    private readonly Uri _vault;
    private readonly string _wrapName;
    private readonly TimeProvider _clock;
    private readonly HttpPipeline _pipeline;
    private readonly Recent<VaultKey> _wrapping;
    private readonly Recent<VaultKey> _signing;
    private readonly string _signName;
    private volatile Rest? _rest; // it said that it is asked too often

    /// <param name="transport">Another way to it, for tests.</param>
    public KeyVault(Uri vault, string wrapName, string signName, TokenCredential credential, TimeProvider clock, HttpPipelineTransport? transport = null)
    {
        (_vault, _wrapName, _signName, _clock) = (vault, wrapName, signName, clock);
        var options = new VaultClientOptions();
        options.Retry.MaxRetries = 0; // whoever asked tries again, and is told when
        options.Retry.NetworkTimeout = Timeout;
        options.Diagnostics.IsLoggingContentEnabled = false;
        if (transport is not null)
            options.Transport = transport;
        _pipeline = HttpPipelineBuilder.Build(options, new KeyVaultAuthentication(credential));
        _wrapping = new Recent<VaultKey>(clock, cancel => GetAsync(_wrapName, ReadRsa, cancel), KeysKept);
        _signing = new Recent<VaultKey>(clock, cancel => GetAsync(_signName, ReadEcdsa, cancel), KeysKept);
    }

    public Task<VaultKey> WrappingKeyAsync(CancellationToken cancel) => _wrapping.GetAsync(cancel).AsTask();

    public Task<VaultKey> SigningKeyAsync(CancellationToken cancel) => _signing.GetAsync(cancel).AsTask();

    public async Task<VaultKey> RotateWrappingKeyAsync(CancellationToken cancel)
    {
        var key = await SendAsync(RequestMethod.Post, At($"/keys/{_wrapName}/rotate"), null, KeyVaultJson.Default.KeyBundle, cancel) switch
        {
            (KeyBundle bundle, _) => Read(bundle, ReadRsa),
            var (_, refused) => throw Refused("rotate", refused!),
        };
        _wrapping.Forget();
        return key;
    }

    public async Task<Unwrapped> UnwrapAsync(string version, ReadOnlyMemory<byte> wrapped, CancellationToken cancel)
    {
        if (!VaultKey.IsVersion(version))
            return new Unwrapped.NoSuchVersion("That is no version of a key.");
        var body = new KeyOperation(WrapAlgorithm, Base64Url.EncodeToString(wrapped.Span));
        var (result, refused) = await SendAsync(RequestMethod.Post, At($"/keys/{_wrapName}/{version}/unwrapkey"), body, KeyVaultJson.Default.KeyOperationResult, cancel);
        if (result is not null)
            return Base64Url.IsValid(result.Value) ? new Unwrapped.Key(Base64Url.DecodeFromChars(result.Value)) : throw new VaultUnavailableException("Key Vault: unwrapkey gave no key.");
        return refused switch
        {
            null => throw new System.Diagnostics.UnreachableException(),
            { Status: 404 } => new Unwrapped.NoSuchVersion($"Key Vault does not have it ({refused.Code})."),
            { Status: 403, Inner: "KeyDisabled" or "KeyNotYetValid" or "KeyExpired" } => new Unwrapped.NoSuchVersion($"Key Vault does not use it any more ({refused.Inner})."),
            { Status: 409 } => new Unwrapped.NoSuchVersion($"Key Vault has deleted it, and can recover it ({refused.Code})."),
            { Status: 400 } => new Unwrapped.NotWrapped($"Key Vault cannot unwrap it ({refused.Code})."),
            _ => throw Refused("unwrapkey", refused),
        };
    }

    public async Task<VaultSignature> SignAsync(ReadOnlyMemory<byte> data, CancellationToken cancel)
    {
        var key = await SigningKeyAsync(cancel);
        var body = new KeyOperation(SignAlgorithm, Base64Url.EncodeToString(SHA256.HashData(data.Span)));
        var (result, refused) = await SendAsync(RequestMethod.Post, At($"/keys/{_signName}/{key.Version}/sign"), body, KeyVaultJson.Default.KeyOperationResult, cancel);
        if (result is null)
        {
            _signing.Forget(); // a version that is gone is not the newest any more
            throw Refused("sign", refused!);
        }

        var signature = Base64Url.IsValid(result.Value) ? Base64Url.DecodeFromChars(result.Value) : [];
        return signature.Length == 64 ? new VaultSignature(key.Version, signature) : throw new VaultUnavailableException("Key Vault: sign gave no signature of ES256.");
    }

    // The newest version that is enabled and valid now. Mostly that is the newest; who takes one back, by disabling it, goes on with the one before.
    private async Task<VaultKey> GetAsync(string name, Func<JsonWebKey, byte[]> read, CancellationToken cancel)
    {
        var (newest, refused) = await SendAsync(RequestMethod.Get, At($"/keys/{name}"), null, KeyVaultJson.Default.KeyBundle, cancel);
        if (newest is not null && IsUsable(newest.Attributes))
            return Read(newest, read);
        if (refused is not (null or { Status: StatusCodes.Status403Forbidden, Inner: "KeyDisabled" }))
            throw Refused($"get key '{name}'", refused);
        var version = await FindUsableAsync(name, cancel) ?? throw new VaultUnavailableException($"Key Vault: no version of the key '{name}' is enabled and valid now.");
        return await SendAsync(RequestMethod.Get, At($"/keys/{name}/{version}"), null, KeyVaultJson.Default.KeyBundle, cancel) switch
        {
            (KeyBundle bundle, _) => Read(bundle, read),
            var (_, gone) => throw Refused($"get key '{name}'", gone!),
        };
    }

    private async Task<string?> FindUsableAsync(string name, CancellationToken cancel)
    {
        var (first, newest) = (At($"/keys/{name}/versions", $"maxresults={PageSize}"), (KeyItem?)null);
        var page = first;
        for (var pages = 0; pages < MaxPages; pages++)
        {
            var (list, refused) = await SendAsync(RequestMethod.Get, page, null, KeyVaultJson.Default.KeyList, cancel);
            if (list is null)
                throw Refused($"list versions of '{name}'", refused!);
            newest = list.Value.Where(item => IsUsable(item.Attributes)).Append(newest).MaxBy(static item => item?.Attributes?.Created); // they come in no order
            if (string.IsNullOrEmpty(list.NextLink))
                return newest is null ? null : VersionOf(newest.Kid);

            // The token goes along: only ever to the same list of the same vault.
            page = Uri.TryCreate(list.NextLink, UriKind.Absolute, out var next) && next.GetLeftPart(UriPartial.Path) == first.GetLeftPart(UriPartial.Path)
                ? next : throw new VaultUnavailableException("Key Vault: the next page of a list is said to be elsewhere.");
        }

        throw new VaultUnavailableException($"Key Vault: '{name}' has more than {MaxPages * PageSize} versions.");
    }

    private bool IsUsable(KeyAttributes? attributes)
    {
        var now = _clock.GetUtcNow().ToUnixTimeSeconds();
        return attributes is null or { Enabled: not false } && (attributes?.Nbf ?? now) <= now && now < (attributes?.Exp ?? long.MaxValue);
    }

    private static string VersionOf(string kid) =>
        kid[(kid.LastIndexOf('/') + 1)..] is var version && VaultKey.IsVersion(version) ? version : throw new VaultUnavailableException("Key Vault: a key without a version.");

    private static VaultKey Read(KeyBundle bundle, Func<JsonWebKey, byte[]> read)
    {
        var version = VersionOf(bundle.Key.Kid);
        try
        {
            return new VaultKey(version, read(bundle.Key));
        }
        catch (Exception e) when (e is CryptographicException or FormatException)
        {
            throw new VaultUnavailableException("Key Vault: its public key cannot be read.", null, e);
        }
    }

    private static byte[] ReadRsa(JsonWebKey key)
    {
        if (key is not { Kty: "RSA" or "RSA-HSM", N: { } n, E: { } e })
            throw new VaultUnavailableException($"Key Vault: an RSA key is expected for wrapping, and it is of the kind '{key.Kty}'.");
        using var rsa = RSA.Create(new RSAParameters { Modulus = Base64Url.DecodeFromChars(n), Exponent = Base64Url.DecodeFromChars(e) });
        return rsa.KeySize >= MinRsaBits ? rsa.ExportSubjectPublicKeyInfo() : throw new VaultUnavailableException($"Key Vault: the key that wraps has {rsa.KeySize} bits, and {MinRsaBits} at least are expected.");
    }

    private static byte[] ReadEcdsa(JsonWebKey key)
    {
        if (key is not { Kty: "EC" or "EC-HSM", Crv: "P-256", X: { } x, Y: { } y })
            throw new VaultUnavailableException($"Key Vault: a P-256 key is expected for signing, and it is of the kind '{key.Kty}' {key.Crv}.");
        using var ecdsa = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new ECPoint { X = Base64Url.DecodeFromChars(x), Y = Base64Url.DecodeFromChars(y) } });
        return ecdsa.ExportSubjectPublicKeyInfo();
    }

    private Uri At(string path, string? query = null) => new(_vault, $"{path}?{(query is null ? "" : query + "&")}api-version={ApiVersion}");

    /// <returns>The answer; or how the vault refused.</returns>
    private async Task<(T? Result, VaultRefusal? Refusal)> SendAsync<T>(RequestMethod method, Uri url, KeyOperation? body, JsonTypeInfo<T> type, CancellationToken cancel)
        where T : class
    {
        if (_rest is { } rest && rest.Length - _clock.GetElapsedTime(rest.Since) is var left && left > TimeSpan.Zero)
            throw new VaultUnavailableException("Key Vault is asked too often, and said when to come again.", left);

        using var message = _pipeline.CreateMessage();
        message.Request.Method = method;
        message.Request.Uri.Reset(url);
        message.Request.Headers.Add("Accept", "application/json");
        if (body is not null)
        {
            message.Request.Headers.Add("Content-Type", "application/json");
            message.Request.Content = RequestContent.Create(JsonSerializer.SerializeToUtf8Bytes(body, KeyVaultJson.Default.KeyOperation));
        }

        using var timeout = new CancellationTokenSource(Timeout, _clock);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel, timeout.Token);
        try
        {
            message.BufferResponse = false; // whatever comes is not taken whole
            await _pipeline.SendAsync(message, limit.Token);
            var answer = await ReadAsync(message.Response, limit.Token);
            if (message.Response.Status == StatusCodes.Status200OK)
                return (JsonSerializer.Deserialize(answer, type) ?? throw new JsonException("null"), null);
            return (null, Refusal(message.Response, answer));
        }
        catch (Exception e) when (e is RequestFailedException or HttpRequestException or IOException or AggregateException)
        {
            throw new VaultUnavailableException("Key Vault cannot be reached.", null, e);
        }
        catch (AuthenticationFailedException e)
        {
            throw new VaultUnavailableException("Key Vault: no token can be had for it.", null, e);
        }
        catch (JsonException e)
        {
            throw new VaultUnavailableException("Key Vault answered with what is not of its API.", null, e);
        }
        catch (OperationCanceledException e) when (!cancel.IsCancellationRequested)
        {
            throw new VaultUnavailableException($"Key Vault did not answer within {Timeout.TotalSeconds:0} s.", null, e);
        }
    }

    private static async Task<byte[]> ReadAsync(Response response, CancellationToken cancel)
    {
        if (response.ContentStream is not { } stream)
            return [];
        var buffer = new byte[MaxAnswer + 1];
        var read = await stream.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancel);
        return read <= MaxAnswer ? buffer[..read] : throw new VaultUnavailableException($"Key Vault answered with more than {MaxAnswer} bytes.");
    }

    private VaultRefusal Refusal(Response response, byte[] answer)
    {
        TimeSpan? rest = null;
        if (response.Status is StatusCodes.Status429TooManyRequests or StatusCodes.Status503ServiceUnavailable)
        {
            rest = RestOf(response);
            _rest = new Rest(_clock.GetTimestamp(), rest.Value);
        }

        KeyVaultErrorDetail? error = null;
        try
        {
            error = JsonSerializer.Deserialize(answer, KeyVaultJson.Default.KeyVaultError)?.Error;
        }
        catch (JsonException)
        {
            // the status says enough
        }

        return new VaultRefusal(response.Status, Word(error?.Code), Word(error?.Innererror?.Code), rest);
    }

    // In seconds or as a date (RFC 9110, 10.2.3); a second where nothing of that is said.
    private TimeSpan RestOf(Response response)
    {
        var said = response.Headers.TryGetValue("Retry-After", out var text) && RetryConditionHeaderValue.TryParse(text, out var after) ? after : null;
        var rest = said?.Delta ?? said?.Date - _clock.GetUtcNow() ?? TimeSpan.FromSeconds(1);
        return rest < TimeSpan.Zero ? TimeSpan.Zero : rest < LongestRest ? rest : LongestRest;
    }

    // Its codes are words; whatever else comes goes into no log.
    private static string Word(string? code) => code is { Length: <= 64 } && code.All(char.IsAsciiLetterOrDigit) ? code : "no code";

    private static VaultUnavailableException Refused(string what, VaultRefusal refusal) =>
        new($"Key Vault: {what}: {refusal.Status} {refusal.Code}{(refusal.Inner == "no code" ? "" : $" ({refusal.Inner})")}.", refusal.RetryAfter);

    private sealed record VaultRefusal(int Status, string Code, string Inner, TimeSpan? RetryAfter);

    /// <summary>By the clock that nobody sets: a step of the other one would keep the vault closed for as long.</summary>
    private sealed record Rest(long Since, TimeSpan Length);

    private sealed class VaultClientOptions : ClientOptions;
}

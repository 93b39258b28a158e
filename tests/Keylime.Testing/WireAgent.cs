using System.Globalization;
using System.IO.Compression;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>A push agent on a TPM in this process, as far as its messages go. What it sends can be altered before it goes out; where it goes, whoever derives from this says.</summary>
public abstract class WireAgent : IDisposable
{
    private readonly string _log;
    private readonly bool _ownsTpm;
    private readonly bool _ownsLog;

    /// <param name="tpm">Its own one if none is given.</param>
    protected WireAgent(string id, SoftwareTpm? tpm = null)
    {
        (Id, Tpm, _ownsTpm, _ownsLog) = (id, tpm ?? new SoftwareTpm(), tpm is null, true);
        _log = Path.Combine(Directory.CreateTempSubdirectory("agent-").FullName, "list");
        Ima = new ImaEmulator(_log, (digests, _) =>
        {
            foreach (var (bank, digest) in digests)
                Tpm.Extend(bank, 10, digest.Span);
            return ValueTask.CompletedTask;
        }, TpmAlgorithm.Sha256);
    }

    /// <summary>The same machine, as it talks to somebody else, or with another key.</summary>
    protected WireAgent(WireAgent other, SoftwareTpm tpm) =>
        (Id, Tpm, _log, Ima, BootTime, BootLog) = (other.Id, tpm, other._log, other.Ima, other.BootTime, other.BootLog);

    public string Id { get; }

    public SoftwareTpm Tpm { get; }

    public ImaEmulator Ima { get; }

    public string? Token { get; set; }

    /// <summary>What it sends as its endorsement certificate.</summary>
    public string EndorsementCertificate { get; set; } = "";

    /// <summary>The formats in which it offers its measurement list; upstream's agent has the first alone.</summary>
    public IReadOnlyList<string> Formats { get; set; } = ["text/plain"];

    /// <summary>Its firmware's event log; <see langword="null"/> for a machine that has none to offer.</summary>
    public byte[]? BootLog { get; set; }

    public DateTimeOffset BootTime { get; set; } = new(2026, 11, 23, 8, 0, 0, TimeSpan.Zero);

    public byte[] ImaList => File.Exists(_log) ? File.ReadAllBytes(_log) : [];

    /// <summary>The file of its measurement list.</summary>
    protected string ImaPath => _log;

    protected abstract CancellationToken Cancel { get; }

    /// <summary>Sends a request of an agent, which proves itself by its token alone.</summary>
    protected abstract Task<Reply> SendAsync(string method, string path, object? body, string contentType, string? token = null);

    public Task MeasureAsync(string path) => Ima.MeasureAsync(SHA256.HashData(Encoding.UTF8.GetBytes(path)), Encoding.UTF8.GetBytes(path), Cancel);

    /// <summary>A policy that allows exactly what is in the list now.</summary>
    public JsonObject Policy()
    {
        var digests = new JsonObject();
        foreach (var line in Encoding.UTF8.GetString(ImaList).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var fields = line.Split(' ', 5);
            digests[fields[4]] = new JsonArray(fields[3].Split(':')[1]);
        }

        return new JsonObject
        {
            ["meta"] = new JsonObject { ["version"] = 1 },
            ["release"] = 0,
            ["digests"] = digests,
            ["excludes"] = new JsonArray(),
            ["keyrings"] = new JsonObject(),
            ["ima"] = new JsonObject { ["ignored_keyrings"] = new JsonArray(), ["log_hash_alg"] = "sha1" },
            ["ima-buf"] = new JsonObject(),
            ["verification-keys"] = "",
        };
    }

    public JsonObject Registration() => new()
    {
        ["ekcert"] = EndorsementCertificate,
        ["ek_tpm"] = Convert.ToBase64String(Tpm.EndorsementKey.EncodeSized()),
        ["aik_tpm"] = Convert.ToBase64String(Tpm.AttestationKey.EncodeSized()),
        ["mtls_cert"] = "disabled",
        ["ip"] = "127.0.0.1",
        ["port"] = 9002,
    };

    /// <summary>Registers and activates.</summary>
    public async Task RegisterAsync()
    {
        var blob = (await SendAsync("POST", $"/v2.6/agents/{Id}", Registration(), Wire.Json)).Expect(HttpStatusCode.OK)["results"]!["blob"]!.GetValue<string>();
        (await SendAsync("PUT", $"/v2.6/agents/{Id}", new JsonObject { ["auth_tag"] = Tag(blob) }, Wire.Json)).Expect(HttpStatusCode.OK);
    }

    public string Tag(string blob)
    {
        var secret = Tpm.ActivateCredential(CredentialBlob.Parse(Convert.FromBase64String(blob)));
        var key = Encoding.ASCII.GetBytes(Convert.ToBase64String(secret));
        return Convert.ToHexStringLower(HMACSHA384.HashData(key, Encoding.UTF8.GetBytes(Id)));
    }

    public JsonObject SessionRequest() => Document("session", new JsonObject
    {
        ["agent_id"] = Id,
        ["authentication_supported"] = new JsonArray(new JsonObject { ["authentication_class"] = "pop", ["authentication_type"] = "tpm_pop" }),
    });

    public async Task<(string Session, byte[] Challenge)> OpenSessionAsync()
    {
        var data = (await SendAsync("POST", "/v3.0/sessions", SessionRequest(), Wire.JsonApi)).Expect(HttpStatusCode.OK)["data"]!;
        var challenge = data["attributes"]!["authentication_requested"]![0]!["chosen_parameters"]!["challenge"]!.GetValue<string>();
        return (data["id"]!.GetValue<string>(), Convert.FromBase64String(challenge));
    }

    public JsonObject Proof(byte[] challenge)
    {
        var (message, signature) = Tpm.Certify(challenge);
        return Document("session", new JsonObject
        {
            ["agent_id"] = Id,
            ["authentication_provided"] = new JsonArray(new JsonObject
            {
                ["authentication_class"] = "pop",
                ["authentication_type"] = "tpm_pop",
                ["data"] = new JsonObject { ["message"] = Convert.ToBase64String(message), ["signature"] = Convert.ToBase64String(signature) },
            }),
        });
    }

    public Task<Reply> ProveAsync(string session, JsonObject proof) =>
        SendAsync("PATCH", $"/v3.0/sessions/{session}", proof, Wire.JsonApi);

    public async Task AuthenticateAsync()
    {
        var (session, challenge) = await OpenSessionAsync();
        var attributes = (await ProveAsync(session, Proof(challenge))).Expect(HttpStatusCode.OK)["data"]!["attributes"]!;
        if (attributes["evaluation"]!.GetValue<string>() != "pass")
            throw new InvalidOperationException($"The proof did not pass: {attributes.ToJsonString()}");
        Token = attributes["token"]!.GetValue<string>();
    }

    public JsonObject Capabilities()
    {
        var (scheme, hash) = (Tpm.AttestationKey.Scheme.Algorithm.ProtocolName(), Tpm.AttestationKey.Scheme.Hash.ProtocolName());
        var pcrs = new JsonArray([.. Enumerable.Range(0, 24).Select(i => (JsonNode)i)]);
        var uefi = new JsonObject
        {
            ["evidence_class"] = "log",
            ["evidence_type"] = "uefi_log",
            ["capabilities"] = new JsonObject { ["evidence_version"] = "2.1", ["entry_count"] = 1, ["formats"] = new JsonArray("application/octet-stream") },
        };
        return Document("attestation", new JsonObject
        {
            ["evidence_supported"] = new JsonArray([
                new JsonObject
                {
                    ["evidence_class"] = "certification",
                    ["evidence_type"] = "tpm_quote",
                    ["capabilities"] = new JsonObject
                    {
                        ["component_version"] = "2.0",
                        ["hash_algorithms"] = new JsonArray("sha256", "sha384", "sha512"),
                        ["signature_schemes"] = new JsonArray("rsassa", "rsapss", "ecdsa"),
                        ["available_subjects"] = new JsonObject { ["sha256"] = pcrs },
                        ["certification_keys"] = new JsonArray(new JsonObject
                        {
                            ["key_class"] = "asymmetric",
                            ["key_algorithm"] = Tpm.AttestationKey.Type.ProtocolName(),
                            ["key_size"] = 2048,
                            ["server_identifier"] = "ak",
                            ["local_identifier"] = Convert.ToHexStringLower(Tpm.AttestationKey.ComputeName()),
                            ["public"] = Convert.ToBase64String(Tpm.AttestationKey.Encode()),
                            ["allowable_hash_algorithms"] = new JsonArray(hash),
                            ["allowable_signature_schemes"] = new JsonArray(scheme),
                        }),
                    },
                },
                new JsonObject
                {
                    ["evidence_class"] = "log",
                    ["evidence_type"] = "ima_log",
                    ["capabilities"] = new JsonObject
                    {
                        ["entry_count"] = ImaList.Count(b => b == '\n'),
                        ["supports_partial_access"] = true,
                        ["appendable"] = true,
                        ["formats"] = new JsonArray([.. Formats.Select(static f => (JsonNode)f)]),
                    },
                },
                .. BootLog is null ? Array.Empty<JsonNode>() : [uefi],
            ]),
            ["system_info"] = new JsonObject { ["boot_time"] = BootTime.ToString("yyyy-MM-ddTHH:mm:ssZ", CultureInfo.InvariantCulture) },
        });
    }

    public Task<Reply> AskAsync(JsonObject? capabilities = null) =>
        SendAsync("POST", $"/v3.0/agents/{Id}/attestations", capabilities ?? Capabilities(), Wire.JsonApi, Token);

    /// <summary>Asks, and gives what is asked and where it goes.</summary>
    public async Task<Asked> AskedAsync()
    {
        var reply = await AskAsync();
        return Read(reply);
    }

    public static Asked Read(Reply reply) => Read(reply.Expect(HttpStatusCode.Created)["data"]!, reply.Location!);

    private static Asked Read(JsonNode attestation, string location)
    {
        var requested = attestation["attributes"]!["evidence_requested"]!.AsArray();
        var quote = requested[0]!["chosen_parameters"]!;
        var (bank, pcrs) = quote["selected_subjects"]!.AsObject().Single();
        if (!TpmAlgorithms.TryFromProtocolName(bank, out var algorithm))
            throw new InvalidOperationException($"'{bank}' is no bank.");
        return new Asked(
            location,
            Convert.FromBase64String(quote["challenge"]!.GetValue<string>()),
            new PcrSelection(algorithm, PcrSet.Of([.. pcrs!.AsArray().Select(p => p!.GetValue<int>())])),
            requested.FirstOrDefault(r => r!["evidence_type"]!.GetValue<string>() == "ima_log")?["chosen_parameters"]!["starting_offset"]!.GetValue<int>())
        {
            Format = requested.FirstOrDefault(r => r!["evidence_type"]!.GetValue<string>() == "ima_log")?["chosen_parameters"]!["format"]!.GetValue<string>() ?? "text/plain",
            BootLog = requested.Any(r => r!["evidence_type"]!.GetValue<string>() == "uefi_log"),
        };
    }

    /// <summary>Evidence as it should be; the parts are the caller's to alter.</summary>
    public Collected Collect(Asked asked)
    {
        var (message, signature, pcrs) = Tpm.Quote(asked.Nonce, asked.Selection);
        return new Collected(message, signature, pcrs, asked.Offset is { } offset ? LinesFrom(offset) : null) { BootLog = asked.BootLog ? BootLog : null, Format = asked.Format };
    }

    public Task<Reply> SubmitAsync(Asked asked, Collected evidence) =>
        SendAsync("PATCH", asked.Location, evidence.ToContent(evidence.ToJson()), Wire.JsonApi, Token);

    /// <summary>Answers, and wants to be asked for the next with the answer.</summary>
    public Task<Reply> SubmitAndGoOnAsync(Asked asked, Collected evidence)
    {
        var document = evidence.ToJson();
        document["meta"] = new JsonObject { ["next_wanted"] = true };
        return SendAsync("PATCH", asked.Location, evidence.ToContent(document), Wire.JsonApi, Token);
    }

    /// <summary>What was asked in advance, with the answer to evidence that passed.</summary>
    public static Asked? Next(Reply accepted) =>
        accepted.Expect(HttpStatusCode.Accepted)["meta"]!["next_attestation"] is { } next ? Read(next, next["links"]!["self"]!.GetValue<string>()) : null;

    /// <summary>An attestation that passes, and what it was asked in advance with the answer.</summary>
    public async Task<Asked> AttestAndGoOnAsync()
    {
        var asked = await AskedAsync();
        return Next(await SubmitAndGoOnAsync(asked, Collect(asked))) ?? throw new InvalidOperationException("Nothing was asked in advance.");
    }

    /// <summary>One whole attestation.</summary>
    public async Task<JsonNode> AttestAsync(Func<Collected, Collected>? alter = null)
    {
        var asked = await AskedAsync();
        var evidence = Collect(asked);
        return (await SubmitAsync(asked, alter?.Invoke(evidence) ?? evidence)).Expect(HttpStatusCode.Accepted)["data"]!["attributes"]!;
    }

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
        if (_ownsTpm)
            Tpm.Dispose();
        if (_ownsLog)
            Directory.Delete(Path.GetDirectoryName(_log)!, recursive: true);
    }

    public static JsonObject Document(string type, JsonObject attributes) =>
        new() { ["data"] = new JsonObject { ["type"] = type, ["attributes"] = attributes } };

    private byte[] LinesFrom(int line)
    {
        var list = ImaList.AsSpan();
        for (; line > 0 && !list.IsEmpty; line--) // a list that became shorter has nothing there
            list = list[(list.IndexOf((byte)'\n') + 1)..];
        return list.ToArray();
    }
}

public sealed record Asked(string Location, byte[] Nonce, PcrSelection Selection, int? Offset)
{
    public bool BootLog { get; init; }

    public string Format { get; init; } = "text/plain";
}

public sealed record Collected(byte[] Message, byte[] Signature, byte[] Pcrs, byte[]? Lines)
{
    public byte[]? BootLog { get; init; }

    /// <summary>How the lines go out.</summary>
    public string Format { get; init; } = "text/plain";

    /// <summary>What goes out as gzip, where it is not what the lines make.</summary>
    public byte[]? Member { get; init; }

    /// <summary>What it says of the lines' length, where it is not the truth; nothing for an empty text.</summary>
    public string? Declared { get; init; }

    /// <summary>One member of gzip, by the runtime's writer. Of nothing that makes nothing.</summary>
    public static byte[] Gzip(byte[] lines)
    {
        using var member = new MemoryStream();
        using (var gzip = new GZipStream(member, CompressionLevel.Optimal, leaveOpen: true))
            gzip.Write(lines);
        return lines.Length == 0 ? [31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 3, 0, .. new byte[8]] : member.ToArray();
    }

    /// <summary>The body, and with compressed lines the header that goes with it.</summary>
    public HttpContent ToContent(JsonObject document)
    {
        var content = new ByteArrayContent(Encoding.UTF8.GetBytes(document.ToJsonString()));
        if (Format == "application/gzip" && Declared != "")
            content.Headers.Add("Keylime-Log-Length", Declared ?? Lines!.Length.ToString(CultureInfo.InvariantCulture));
        return content;
    }

    public JsonObject ToJson()
    {
        var items = new JsonArray(new JsonObject
        {
            ["evidence_class"] = "certification",
            ["evidence_type"] = "tpm_quote",
            ["data"] = new JsonObject
            {
                ["message"] = Convert.ToBase64String(Message),
                ["signature"] = Convert.ToBase64String(Signature),
                ["subject_data"] = Convert.ToBase64String(Pcrs),
            },
        });
        if (BootLog is not null)
        {
            items.Add(new JsonObject
            {
                ["evidence_class"] = "log",
                ["evidence_type"] = "uefi_log",
                ["data"] = new JsonObject { ["entries"] = Convert.ToBase64String(BootLog) },
            });
        }

        if (Lines is not null)
        {
            items.Add(new JsonObject
            {
                ["evidence_class"] = "log",
                ["evidence_type"] = "ima_log",
                ["data"] = new JsonObject { ["entries"] = Entries(Lines), ["entry_count"] = Lines.Count(b => b == '\n') },
            });
        }

        return WireAgent.Document("attestation", new JsonObject { ["evidence_collected"] = items });
    }

    private string Entries(byte[] lines) => Format switch
    {
        "application/gzip" => Convert.ToBase64String(Member ?? Gzip(lines)),
        "application/octet-stream" => Convert.ToBase64String(lines),
        _ => Encoding.UTF8.GetString(lines),
    };
}

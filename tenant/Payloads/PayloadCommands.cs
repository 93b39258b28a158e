using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant.Payloads;

/// <summary><c>keylime payload …</c>: secrets that only machines which pass can open.</summary>
internal static class PayloadCommands
{
    private const int DefaultLimit = 20;
    private const int MaxPage = 1000;

    public static Command Create(Surroundings surroundings, Formats formats) => new("payload", "Secrets that only machines which pass can open.")
    {
        Put(surroundings, formats),
        Share(surroundings, formats),
        List(surroundings, formats),
        Show(surroundings, formats),
        Grants(surroundings, formats),
        Releases(surroundings, formats),
        Revoke(surroundings, formats),
        Rotate(surroundings, formats),
    };

    public static string PathOf(string name) => $"/v1/payloads/{Uri.EscapeDataString(name)}";

    private static Command Put(Surroundings surroundings, Formats formats)
    {
        var (name, file, vaultKey, share) = (Name(), File(), VaultKey(), ShareFile("The key is in two parts: the file that keeps the part which the vault does not get. See 'payload share'."));
        var nodes = new Option<string[]>("--node") { Description = "One of the nodes that it is meant for; may be repeated.", DefaultValueFactory = static _ => [] };
        var group = new Option<string?>("--group") { Description = "Only nodes of this group." };
        var policy = new Option<string?>("--policy") { Description = "Only nodes that this runtime or boot policy judges." };
        var require = new Option<string?>("--require") { Description = "What the last verdict must cover: of identity, boot, runtime, separated by commas; identity,boot if left out." };
        var age = new Option<string?>("--max-age") { Description = "How old the last verdict may be: 120s, 10m, 2h; twice the node's interval if left out." };
        var pcrs = new Option<string?>("--pcrs") { Description = "The PCRs whose values it takes to open it; 0,2,4,7 if left out." };
        var once = new Option<bool>("--once") { Description = "Released once to each node, and never again." };
        var expires = new Option<string?>("--expires") { Description = "When nobody gets it any more: a time, 2026-12-31T00:00:00Z, or how long from now, 30d." };
        var command = new Command("put", "Encrypt a file, and put it for the machines that it is meant for.") { name, file, nodes, group, policy, require, age, pcrs, once, expires, vaultKey, share };
        command.SetAction(async (parsed, cancel) =>
        {
            var audience = new PayloadAudience
            {
                Nodes = parsed.GetValue(nodes) is { Length: > 0 } ids ? [.. ids.Select(ReadId)] : null,
                Group = parsed.GetValue(group),
                Policy = parsed.GetValue(policy),
            };
            if (audience is { Nodes: null, Group: null, Policy: null })
                throw new CliException(Exits.Usage, "nobody is named that it is meant for", "--node, --group or --policy is expected");
            var defaults = new PayloadTerms();
            var terms = defaults with
            {
                Require = parsed.GetValue(require)?.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries) ?? defaults.Require,
                MaxAgeSeconds = parsed.GetValue(age) is { } text ? (int)ReadSpan(text, "--max-age").TotalSeconds : null,
                Pcrs = parsed.GetValue(pcrs)?.Split(',', StringSplitOptions.TrimEntries).Select(ReadPcr).ToArray() ?? defaults.Pcrs,
                Once = parsed.GetValue(once),
                ExpiresAt = parsed.GetValue(expires) is { } until ? ReadTime(until, surroundings.Clock.GetUtcNow()) : null,
            };
            using var api = new ServiceApi(Login.Load(surroundings));
            return await SendAsync(surroundings, formats, parsed, api, parsed.GetValue(name)!, parsed.GetValue(file)!, audience, terms, parsed.GetValue(vaultKey), parsed.GetValue(share), cancel);
        });
        return command;
    }

    private static Command Rotate(Surroundings surroundings, Formats formats)
    {
        var (name, vaultKey, share) = (Name(), VaultKey(), ShareFile("Of a payload whose key is in two parts: the file that keeps the new part."));
        name.Arity = ArgumentArity.ZeroOrOne;
        var file = new Option<string?>("--file") { Description = "The file, as it is or as it is to be." };
        var ring = new Option<bool>("--vault") { Description = "Make another version of the vault's key instead; what the former ones wrapped still opens." };
        var command = new Command("rotate", "Put a payload once more under a new key, for the same machines and on the same terms; or rotate the vault's key.") { name, file, ring, vaultKey, share };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            if (parsed.GetValue(ring))
            {
                var key = await api.SendAsync(HttpMethod.Post, "/v1/vault/rotate", null, ApiJson.Default.VaultKeyMessage, cancel);
                if (formats.IsJson(parsed))
                    Output.WriteJson(surroundings, key, ApiJson.Default.VaultKeyMessage);
                else
                    Output.WriteFields(surroundings, ("version", key.Version), ("sha-256", Convert.ToHexStringLower(SHA256.HashData(key.PublicKey))));
                return Exits.Ok;
            }

            if (parsed.GetValue(name) is not { } named || parsed.GetValue(file) is not { } path)
                throw new CliException(Exits.Usage, "NAME and --file are missing", "or --vault, for the vault's key");
            var known = await api.GetAsync(PathOf(named), ApiJson.Default.PayloadMessage, cancel);
            if (known.Split && parsed.GetValue(share) is null)
                throw new CliException(Exits.Usage, $"the key of '{PlainText.From(named)}' is in two parts", "--share-file is expected, for the new part");
            return await SendAsync(surroundings, formats, parsed, api, named, path, known.For, known.Terms, parsed.GetValue(vaultKey), parsed.GetValue(share), cancel);
        });
        return command;
    }

    private static async Task<int> SendAsync(
        Surroundings surroundings, Formats formats, ParseResult parsed, ServiceApi api, string name, string file, PayloadAudience audience, PayloadTerms terms, string? vaultKey, string? share,
        CancellationToken cancel)
    {
        await using var content = Open(file);
        var payload = await PayloadSender.PutAsync(api, name, content, audience, terms, vaultKey is { } pem ? Login.ReadText(pem, "--vault-key") : null, share, cancel);
        Write(surroundings, formats, parsed, payload);
        return Exits.Ok;
    }

    private static Command Share(Surroundings surroundings, Formats formats)
    {
        var (name, share) = (Name(), ShareFile("The file that 'payload put --share-file' wrote."));
        share.Required = true;
        var trust = new Option<string[]>("--trust") { Description = "Roots of TPM makers, PEM or DER: who vouches for an endorsement key is decided here, and not by the service.", Required = true };
        var nodes = new Option<string[]>("--node") { Description = "Only this node; may be repeated. All that it is meant for if left out.", DefaultValueFactory = static _ => [] };
        var command = new Command("share", "Seal the other part of a split payload's key to the TPMs of the machines that it is meant for.") { name, share, trust, nodes };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var path = PathOf(parsed.GetValue(name)!);
            var wanted = parsed.GetValue(nodes) is { Length: > 0 } ids
                ? [.. ids.Select(ReadId)]
                : (await api.AllAsync(path + "/grants", "", ApiJson.Default.PayloadGrantList, static p => p.Grants, static p => p.Next, cancel)).Select(static g => g.Node).ToArray();
            var secret = Surroundings.ReadFile(parsed.GetValue(share)!);
            try
            {
                var done = await ShareSender.SendAsync(api, parsed.GetValue(name)!, secret, wanted, ReadRoots(parsed.GetValue(trust)!), surroundings.Clock.GetUtcNow(), cancel);
                foreach (var (node, why) in done)
                    surroundings.Out.WriteLine($"{node}: {(why is null ? "sealed" : $"not sealed: {PlainText.From(why)}")}");
                var missing = done.Count(static d => d.Why is not null);
                return missing == 0 ? Exits.Ok : throw new CliException(Exits.Failed, $"{missing} of {done.Count} nodes have no share", "what is said of each tells why; the others have theirs");
            }
            finally
            {
                CryptographicOperations.ZeroMemory(secret);
            }
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var command = new Command("list", "All payloads.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync("/v1/payloads", ApiJson.Default.PayloadList, cancel);
            Output.WriteList(surroundings, formats, parsed, list, ApiJson.Default.PayloadList, ["payload", "version", "bytes", "for", "requires", "pcrs", "put", "by", "expires", "revoked"], list.Payloads.Select(static p => (string?[])
            [
                p.Name, Number(p.Version), Number(p.Size), Describe(p.For), string.Join(' ', p.Terms.Require), string.Join(' ', p.Terms.Pcrs), Output.Time(p.CreatedAt), p.CreatedBy,
                Output.Time(p.Terms.ExpiresAt), Output.Time(p.RevokedAt),
            ]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Show(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var command = new Command("show", "One payload.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            Write(surroundings, formats, parsed, await api.GetAsync(PathOf(parsed.GetValue(name)!), ApiJson.Default.PayloadMessage, cancel));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Grants(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var command = new Command("grants", "The nodes that a payload is meant for, and whether each would get it now.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var grants = await api.AllAsync(PathOf(parsed.GetValue(name)!) + "/grants", "", ApiJson.Default.PayloadGrantList, static p => p.Grants, static p => p.Next, cancel);
            Output.WriteList(
                surroundings, formats, parsed, new PayloadGrantList(grants), ApiJson.Default.PayloadGrantList, ["node", "decision", "why"],
                grants.Select(static g => (string?[])[g.Node.ToString(), g.Code, g.Detail]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Releases(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var limit = new Option<int>("--limit") { Description = "So many at most.", DefaultValueFactory = static _ => DefaultLimit };
        var command = new Command("releases", "Each decision on a request for a payload, newest first.") { name, limit };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var list = await api.GetAsync($"{PathOf(parsed.GetValue(name)!)}/releases?limit={Number(Math.Clamp(parsed.GetValue(limit), 1, MaxPage))}", ApiJson.Default.ReleaseList, cancel);
            Output.WriteList(surroundings, formats, parsed, list, ApiJson.Default.ReleaseList, ["at", "node", "version", "decision", "attestation", "why", "outcome", "report"], list.Releases.Select(static r => (string?[])
            [
                Output.Time(r.At), r.Node.ToString(), Number(r.Version), r.Code, Number(r.Attestation), r.Detail, r.Outcome?.ToString().ToLowerInvariant(), r.Report,
            ]));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Revoke(Surroundings surroundings, Formats formats)
    {
        var name = Name();
        var command = new Command("revoke", "Take a payload away: its key is deleted, and agents wipe it at their next attestation.") { name };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            Write(surroundings, formats, parsed, await api.SendAsync(HttpMethod.Post, PathOf(parsed.GetValue(name)!) + "/revoke", null, ApiJson.Default.PayloadMessage, cancel));
            return Exits.Ok;
        });
        return command;
    }

    private static Argument<string> Name() => new("NAME") { Description = "The payload's name: that of the file on the machines." };

    private static Option<string> File() => new("--file") { Description = "The file; - reads the standard input.", Required = true };

    private static Option<string?> VaultKey() => new("--vault-key") { Description = "The public half of the vault's key, in PEM, where you know it: another one is refused." };

    private static Option<string?> ShareFile(string description) => new("--share-file", "--split") { Description = description };

    private static void Write(Surroundings surroundings, Formats formats, ParseResult parsed, PayloadMessage payload)
    {
        if (formats.IsJson(parsed))
        {
            Output.WriteJson(surroundings, payload, ApiJson.Default.PayloadMessage);
            return;
        }

        Output.WriteFields(
            surroundings, ("payload", payload.Name), ("version", Number(payload.Version)), ("bytes", Number(payload.Size)), ("for", Describe(payload.For)),
            ("requires", string.Join(", ", payload.Terms.Require)), ("pcrs", string.Join(", ", payload.Terms.Pcrs)),
            ("max age", payload.Terms.MaxAgeSeconds is { } age ? $"{Number(age)} s" : null), ("once", payload.Terms.Once ? "yes" : null), ("split", payload.Split ? "yes" : null),
            ("put", $"{Output.Time(payload.CreatedAt)} by {payload.CreatedBy}"), ("expires", Output.Time(payload.Terms.ExpiresAt)),
            ("revoked", payload.RevokedAt is { } at ? $"{Output.Time(at)} by {payload.RevokedBy}" : null));
    }

    private static string Describe(PayloadAudience audience) => string.Join(", ", new[]
    {
        audience.Nodes is { } nodes ? nodes.Count <= 3 ? string.Join(' ', nodes) : $"{nodes.Count} nodes" : null,
        audience.Group is { } group ? $"group {group}" : null,
        audience.Policy is { } policy ? $"policy {policy}" : null,
    }.OfType<string>());

    private static Stream Open(string path)
    {
        try
        {
            return path == "-" ? Console.OpenStandardInput() : new FileStream(path, new FileStreamOptions { Options = FileOptions.Asynchronous | FileOptions.SequentialScan });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new CliException(Exits.Usage, $"--file: {PlainText.From(e.Message)}", "a file that can be read is expected");
        }
    }

    private static X509Certificate2Collection ReadRoots(string[] files)
    {
        var roots = new X509Certificate2Collection();
        foreach (var file in files)
        {
            try
            {
                var bytes = Surroundings.ReadFile(file);
                if (bytes.AsSpan().StartsWith("-----"u8))
                    roots.ImportFromPem(System.Text.Encoding.ASCII.GetString(bytes));
                else
                    roots.Add(X509CertificateLoader.LoadCertificate(bytes));
            }
            catch (CryptographicException)
            {
                throw new CliException(Exits.Usage, $"--trust: '{PlainText.From(file)}' holds no certificate", "PEM or DER is expected");
            }
        }

        return roots.Count > 0 ? roots : throw new CliException(Exits.Usage, "--trust holds no certificate", "PEM or DER is expected");
    }

    private static AgentId ReadId(string text) => AgentId.TryParse(text, null, out var id)
        ? id
        : throw new CliException(Exits.Usage, $"--node: '{PlainText.From(text)}' is no agent id", "1 to 80 of A-Z a-z 0-9 _ . - are expected");

    private static int ReadPcr(string text) => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var pcr) && pcr <= 23
        ? pcr
        : throw new CliException(Exits.Usage, $"--pcrs: '{PlainText.From(text)}' is no PCR", "numbers from 0 to 23, separated by commas, are expected");

    private static TimeSpan ReadSpan(string text, string where)
    {
        var unit = text.Length > 0 ? text[^1] : ' ';
        var seconds = unit switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86_400, _ => 0 };
        return seconds > 0 && int.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count > 0 && (long)count * seconds <= int.MaxValue
            ? TimeSpan.FromSeconds((long)count * seconds)
            : throw new CliException(Exits.Usage, $"{where}: '{PlainText.From(text)}' is no time span", "120s, 10m, 2h or 30d is expected");
    }

    private static DateTimeOffset ReadTime(string text, DateTimeOffset now) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var at) ? at : now + ReadSpan(text, "--expires");

    private static string? Number(long? number) => number?.ToString(CultureInfo.InvariantCulture);
}

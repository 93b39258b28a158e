using System.CommandLine;
using System.Net.Http.Headers;
using Keylime.Protocol;
using Keylime.Protocol.Api;

namespace Keylime.Tenant;

/// <summary><c>keylime trust …</c>: the certificates that vouch for TPMs.</summary>
internal static class TrustCommands
{
    private static readonly string[] Endings = [".pem", ".crt", ".cer", ".der"];

    public static Command Create(Surroundings surroundings, Formats formats) => new("trust", "The certificates that vouch for TPMs.")
    {
        Add(surroundings, formats),
        List(surroundings, formats),
        Remove(surroundings),
    };

    private static Command Add(Surroundings surroundings, Formats formats)
    {
        var paths = new Argument<string[]>("FILE") { Description = "Files in PEM or DER, or folders of them.", Arity = ArgumentArity.OneOrMore };
        var command = new Command("add", "Trust roots and intermediates.") { paths };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            var added = new List<TrustedCertificateSummary>();
            foreach (var file in parsed.GetValue(paths)!.SelectMany(FilesOf))
            {
                using var content = new ByteArrayContent(Surroundings.ReadFile(file));
                content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
                try
                {
                    added.AddRange((await api.SendAsync(HttpMethod.Post, "/v1/trust", content, ApiJson.Default.TrustList, cancel)).Certificates);
                }
                catch (CliException e)
                {
                    throw new CliException(e.Exit, $"{PlainText.From(file)}: {e.Message}", added.Count == 0 ? e.Hint : $"{added.Count} certificates were added before it");
                }
            }

            Write(surroundings, formats, parsed, new TrustList(added));
            return Exits.Ok;
        });
        return command;
    }

    private static Command List(Surroundings surroundings, Formats formats)
    {
        var command = new Command("list", "All trusted certificates.");
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            Write(surroundings, formats, parsed, await api.GetAsync("/v1/trust", ApiJson.Default.TrustList, cancel));
            return Exits.Ok;
        });
        return command;
    }

    private static Command Remove(Surroundings surroundings)
    {
        var thumbprint = new Argument<string>("THUMBPRINT") { Description = "SHA-256 of the certificate, in hex: keylime trust list tells it." };
        var command = new Command("remove", "Stop to trust a certificate.") { thumbprint };
        command.SetAction(async (parsed, cancel) =>
        {
            using var api = new ServiceApi(Login.Load(surroundings));
            await api.SendAsync(HttpMethod.Delete, $"/v1/trust/{Uri.EscapeDataString(parsed.GetValue(thumbprint)!)}", null, cancel);
            return Exits.Ok;
        });
        return command;
    }

    private static void Write(Surroundings surroundings, Formats formats, ParseResult parsed, TrustList list) => Output.WriteList(
        surroundings, formats, parsed, list, ApiJson.Default.TrustList, ["thumbprint", "subject", "issuer", "kind", "until", "source"],
        list.Certificates.Select(static c => (string?[])[c.Thumbprint, c.Subject, c.Issuer, c.Root ? "root" : "intermediate", Output.Time(c.NotAfter), c.Source]));

    private static IEnumerable<string> FilesOf(string path) => Directory.Exists(path)
        ? Directory.EnumerateFiles(path, "*", SearchOption.AllDirectories).Where(static f => Endings.Contains(Path.GetExtension(f).ToLowerInvariant())).Order(StringComparer.Ordinal)
        : [path];
}

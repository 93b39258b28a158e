using System.CommandLine;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Keylime.Attestation;

namespace Keylime.Tenant;

/// <summary><c>keylime policy sign</c> and <c>verify</c>: DSSE envelopes, as Keylime's own tools write and read them.</summary>
internal static class SigningCommands
{
    public static Command Sign(Surroundings surroundings)
    {
        var file = new Argument<string>("FILE") { Description = "A policy; one that is signed already gets another signature." };
        var key = new Option<string>("--key") { Description = "A private key in PEM, RSA or EC, not encrypted.", Required = true };
        var certificate = new Option<string?>("--cert") { Description = "The key's certificate in PEM, and intermediates behind it: it travels with the signature." };
        var output = CompareCommands.Out();
        var command = new Command("sign", "Sign a policy (DSSE).") { file, key, certificate, output };
        command.SetAction(async (parsed, cancel) =>
        {
            var text = await PolicySource.ReadWholeAsync(surroundings, parsed.GetValue(file)!, cancel);
            var keyPem = Encoding.UTF8.GetString(Surroundings.ReadFile(parsed.GetValue(key)!));
            var certificatePem = parsed.GetValue(certificate) is { } path ? Encoding.UTF8.GetString(Surroundings.ReadFile(path)) : "";
            if (!DsseSigner.TryCreate(keyPem, certificatePem, out var signer, out var error))
                throw new CliException(Exits.Usage, $"{PlainText.From(parsed.GetValue(key))}: {PlainText.From(error)}", "openssl ecparam -name prime256v1 -genkey -noout makes a key that can sign");
            using (signer)
                await PolicySource.WriteAsync(surroundings, parsed.GetValue(output), Sign(text, signer, parsed.GetValue(file)!), cancel);
            return Exits.Ok;
        });
        return command;
    }

    public static Command Verify(Surroundings surroundings)
    {
        var file = new Argument<string>("FILE") { Description = "A signed policy. " + PolicySource.Description };
        var keys = new Option<string[]>("--key") { Description = "A public key, or a certificate whose key counts, in PEM; may be repeated.", DefaultValueFactory = _ => [] };
        var authorities = new Option<string[]>("--ca") { Description = "An authority's certificate in PEM: its certificates count; may be repeated.", DefaultValueFactory = _ => [] };
        var output = new Option<string?>("--out") { Description = "Where the policy that was signed goes." };
        var command = new Command("verify", "Who of the given ones signed a policy. Exit code 0 somebody, 4 nobody.") { file, keys, authorities, output };
        command.SetAction(async (parsed, cancel) =>
        {
            var trust = SigningTrust.None;
            foreach (var path in parsed.GetValue(keys)!)
                trust = trust.TryAdd(path, Surroundings.ReadFile(path), out var with, out var error) ? with : throw Wrong(path, error);
            foreach (var path in parsed.GetValue(authorities)!)
                trust = AddRoot(trust, path);
            if (trust.IsEmpty)
                throw new CliException(Exits.Usage, "nobody is given whose signature would count", "--key FILE or --ca FILE is expected");

            var name = parsed.GetValue(file)!;
            if (!DsseEnvelope.TryParse(await PolicySource.ReadWholeAsync(surroundings, name, cancel), out var envelope, out var malformed))
                throw Wrong(name, malformed);
            if (envelope.Verify(trust, surroundings.Clock.GetUtcNow()) is not DsseResult.Verified verified)
                throw new CliException(Exits.Refused, $"{PlainText.From(name)}: nobody of the given ones signed it", "keylime policy sign FILE --key KEY signs it");
            foreach (var signer in verified.Signers)
                surroundings.Out.WriteLine(PlainText.From(signer.Root is { } root ? $"signed by {signer.Name} (of {root})" : $"signed by {signer.Name}"));
            if (parsed.GetValue(output) is { } target)
                await PolicySource.WriteAsync(surroundings, target, verified.Payload, cancel);
            return Exits.Ok;
        });
        return command;
    }

    // What the service would refuse is not worth a signature.
    private static byte[] Sign(ReadOnlyMemory<byte> text, DsseSigner signer, string name)
    {
        if (DsseEnvelope.IsEnvelope(text.Span))
        {
            return !DsseEnvelope.TryParse(text, out var envelope, out var malformed) ? throw Wrong(name, malformed)
                : envelope.Signatures.Length < DsseEnvelope.MaxSignatures ? envelope.AddSignatures(signer)
                : throw Wrong(name, $"it has {DsseEnvelope.MaxSignatures} signatures, and no more are read");
        }

        string? error = null;
        var valid = BootPolicy.IsOne(text.Span) ? BootPolicy.TryParse(text, out _, out error)
            : PolicyLayerList.IsOne(text.Span) ? PolicyLayerList.TryParse(text, out _, out error)
            : RuntimePolicy.TryParse(text, out _, out error);
        return valid ? DsseEnvelope.Sign(DsseEnvelope.RuntimePolicyType, text.Span, signer) : throw Wrong(name, error!);
    }

    private static SigningTrust AddRoot(SigningTrust trust, string path)
    {
        try
        {
            var certificate = X509Certificate2.CreateFromPem(Encoding.UTF8.GetString(Surroundings.ReadFile(path)));
            return trust.TryAddRoot(certificate, out var with, out var error) ? with : throw Wrong(path, error);
        }
        catch (CryptographicException e)
        {
            throw Wrong(path, e.Message);
        }
    }

    private static CliException Wrong(string name, string error) => new(Exits.Usage, $"{PlainText.From(name)}: {PlainText.From(error)}", "keylime policy lint tells more of a policy");
}

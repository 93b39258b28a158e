using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Keylime.Protocol;
using Keylime.Protocol.Upstream;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary><c>keylime-agent doctor</c>: everything that an attestation needs, looked at one by one; each line ok or not, and what to do next.</summary>
internal sealed class Doctor(AgentOptions options, Func<ITpmDevice> openTpm, TextWriter output, TimeProvider time, DoctorPaths paths)
{
    private const uint Manufacturer = 0x105;    // TPM_PT_MANUFACTURER, Part 2, 6.13
    private const uint FirmwareVersion = 0x10B; // TPM_PT_FIRMWARE_VERSION_1
    private static readonly TimeSpan ClockTolerance = TimeSpan.FromMinutes(1);

    private bool _well = true;

    /// <returns>True where nothing is wrong.</returns>
    public async Task<bool> RunAsync(CancellationToken cancel)
    {
        var id = await CheckTpmAsync(cancel);
        CheckIma();
        CheckBootLog();
        await CheckNamesAsync(cancel);
        await CheckServiceAsync(id, cancel);
        output.WriteLine(_well ? "All is well." : "Not all is well: see the lines that say not ok.");
        return _well;
    }

    private async Task<AgentId?> CheckTpmAsync(CancellationToken cancel)
    {
        try
        {
            await using var tpm = new TpmClient(openTpm(), time);
            await tpm.StartupAsync(keepState: false, cancel);
            await tpm.SelfTestAsync(full: false, cancel);
            var (maker, firmware) = (await tpm.GetPropertyAsync(Manufacturer, cancel) ?? 0, await tpm.GetPropertyAsync(FirmwareVersion, cancel) ?? 0);
            Ok("TPM", string.Create(CultureInfo.InvariantCulture, $"TPM 2.0 of {MakerOf(maker)}, firmware {firmware >> 16}.{firmware & 0xFFFF}"));

            var banks = await tpm.GetPcrBanksAsync(cancel);
            if (banks.Any(static b => b.Bank is TpmAlgorithm.Sha256 or TpmAlgorithm.Sha384 or TpmAlgorithm.Sha512))
                Ok("PCR banks", string.Join(", ", banks.Select(static b => b.Bank.ProtocolName() ?? b.Bank.ToString())));
            else
                NotOk("PCR banks", "no bank of SHA-256 or better is allocated", "allocate one in the firmware's set-up, or with: tpm2_pcrallocate sha256:all; and reboot");

            await tpm.FlushLeftoversAsync(cancel);
            var keys = await MachineKeys.OpenAsync(tpm, options, cancel);
            try
            {
                Ok("attestation key", Convert.ToHexStringLower(keys.AttestationKey.Name.Span));
                CheckCertificates(keys.Profile, await keys.ReadCertificatesAsync(cancel));
                return options.Uuid == "hash_ek" ? AgentId.Parse(keys.EkHash) : AgentId.TryParse(options.Uuid, null, out var id) ? id : null;
            }
            finally
            {
                await keys.ReleaseEndorsementKeyAsync(cancel);
                await tpm.FlushContextAsync(keys.AttestationKey.Handle, cancel);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or TpmRefusedException or TpmFormatException or OptionsException)
        {
            NotOk("TPM", e.Message, e is OptionsException known ? known.Hint : "is there a /dev/tpmrm0, and may this user (group tss) use it? Is the TPM switched on in the firmware's set-up?");
            return null;
        }
    }

    private void CheckCertificates(EndorsementKeyProfile profile, string pem)
    {
        var chain = new X509Certificate2Collection();
        chain.ImportFromPem(pem);
        if (chain.Count == 0)
        {
            NotOk("EK certificate", string.Create(CultureInfo.InvariantCulture, $"the TPM has none for its {profile.Name} key (NV 0x{profile.CertificateIndex:x8})"),
                "put the key's hash (keylime-agent identity) on the service's list, and have the service accept ek-list; or choose another key with tpm_ek_profile");
            return;
        }

        var leaf = chain[0];
        var now = time.GetUtcNow();
        if (now < leaf.NotBefore.ToUniversalTime() || now > leaf.NotAfter.ToUniversalTime())
            NotOk("EK certificate", $"valid from {leaf.NotBefore.ToUniversalTime():u} to {leaf.NotAfter.ToUniversalTime():u} only", "is the clock right?");
        else
            Ok("EK certificate", $"{profile.Name}, of '{leaf.Issuer}', to {leaf.NotAfter.ToUniversalTime():yyyy-MM-dd}");

        var top = leaf;
        while (chain.FirstOrDefault(c => c.SubjectName.RawData.AsSpan().SequenceEqual(top.IssuerName.RawData)) is { } issuer && !ReferenceEquals(issuer, top))
            top = issuer;
        Ok("EK chain", chain.Count == 1
            ? $"the TPM has no certificates above it: the service must trust '{leaf.Issuer}'"
            : $"{chain.Count - 1} certificates in the TPM; the service must trust '{top.Issuer}'");
    }

    private void CheckIma()
    {
        if (!File.Exists(options.ImaMlPath))
        {
            NotOk("IMA list", $"{options.ImaMlPath} is not there", "mount securityfs; boot a kernel with CONFIG_IMA; run this as root");
            return;
        }

        long lines;
        try
        {
            using var list = ImaLogFile.Open(options.ImaMlPath);
            lines = list.Refresh();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            NotOk("IMA list", e.Message, "run this as root: the agent opens the list before it drops its privileges");
            return;
        }

        Ok("IMA list", string.Create(CultureInfo.InvariantCulture, $"{lines} lines"));
        var commandLine = File.Exists(paths.CommandLine) ? File.ReadAllText(paths.CommandLine) : "";
        if (lines > 1 || commandLine.Contains("ima_policy=", StringComparison.Ordinal))
            Ok("IMA policy", lines > 1 ? "files are measured" : "named on the kernel's command line");
        else
            NotOk("IMA policy", "nothing but the boot aggregate is measured", "add ima_policy=tcb to the kernel's command line, or write a policy to /etc/ima/ima-policy, and reboot");
    }

    private void CheckBootLog()
    {
        try
        {
            var log = UefiLog.Read(options.MeasuredbootMlPath);
            if (log.Length == 0)
                NotOk("boot log", $"{options.MeasuredbootMlPath} is not there, or empty", "measured boot needs UEFI and a TPM that the firmware uses; without it only what runs later is proven");
            else
                Ok("boot log", string.Create(CultureInfo.InvariantCulture, $"{UefiLog.CountEvents(log)} events, {log.Length} bytes"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            NotOk("boot log", e.Message, "run this as root: the agent opens the log before it drops its privileges");
        }
    }

    private async Task CheckNamesAsync(CancellationToken cancel)
    {
        foreach (var host in ((string[])[options.VerifierUrl.Host, options.RegistrarUrl.Host]).Distinct())
        {
            try
            {
                var addresses = await Dns.GetHostAddressesAsync(host.Trim('[', ']'), cancel);
                Ok("name resolution", $"{host} is {string.Join(", ", addresses.Select(static a => a.ToString()))}");
            }
            catch (System.Net.Sockets.SocketException e)
            {
                NotOk("name resolution", $"{host}: {e.Message}", "is the host's name in verifier_url or registrar_ip right, and does DNS know it?");
            }
        }
    }

    private async Task CheckServiceAsync(AgentId? id, CancellationToken cancel)
    {
        try
        {
            if (options.VerifierUrl.Scheme == Uri.UriSchemeHttps)
            {
                using var probe = new ServiceClient(options.VerifierUrl, options.VerifierCa);
                var answer = await probe.SendAsync(HttpMethod.Get, "version", null, null, static _ => true, cancel);
                Ok("TLS", $"{options.VerifierUrl} has a certificate of the CA in {options.VerifierCa}");
                CheckClock(answer.Date);
            }
            else
            {
                NotOk("TLS", $"{options.VerifierUrl} is without TLS", "give an https URL: tokens go over this connection");
            }
        }
        catch (OptionsException e)
        {
            NotOk("TLS", e.Message, e.Hint);
            return;
        }
        catch (HttpRequestException e)
        {
            NotOk("TLS", $"{options.VerifierUrl}: {e.InnerException?.Message ?? e.Message}", "is the service there, is no firewall between, and is verifier_tls_ca_cert its ca.pem?");
            return;
        }

        await CheckAnswerAsync("registrar", async () =>
        {
            using var registrar = new ServiceClient(options.RegistrarUrl, options.RegistrarCa);
            var answer = await registrar.SendAsync(HttpMethod.Get, "version", null, null, static s => s == HttpStatusCode.OK, cancel);
            var versions = ServiceClient.Read(answer, UpstreamJson.Default.EnvelopeVersionResults, "version").Results;
            return $"{options.RegistrarUrl} speaks {string.Join(", ", versions.SupportedVersions)}";
        });
        await CheckAnswerAsync("verifier", async () =>
        {
            // A challenge is given to whoever asks, and costs nothing.
            using var verifier = new ServiceClient(options.VerifierUrl, options.VerifierCa);
            var question = new SessionAttributes
            {
                AgentId = (id ?? AgentId.Parse("doctor")).ToString(),
                AuthenticationSupported = [new AuthenticationMethod(AuthenticationMethod.PopClass, AuthenticationMethod.TpmPopType)],
            };
            var document = new Document<SessionAttributes>(new Resource<SessionAttributes>("session", question));
            await verifier.SendAsync(HttpMethod.Post, "v3.0/sessions", ServiceClient.Json(document, UpstreamJson.Default.DocumentSessionAttributes, jsonApi: true), null, static s => s == HttpStatusCode.OK, cancel);
            return $"{options.VerifierUrl} gives challenges";
        });
    }

    private async Task CheckAnswerAsync(string name, Func<Task<string>> ask)
    {
        try
        {
            Ok(name, await ask());
        }
        catch (Exception e) when (e is ServiceRefusedException or HttpRequestException or OptionsException)
        {
            NotOk(name, e.Message, name == "registrar"
                ? "is registrar_ip (with registrar_port) or verifier_url right? A service of ours has both under verifier_url"
                : "does this service speak Keylime's push protocol (API 3.0)?");
        }
    }

    private void CheckClock(DateTimeOffset? theirs)
    {
        if (theirs is not { } date)
            return;
        var difference = (time.GetUtcNow() - date).Duration();
        if (difference <= ClockTolerance)
            Ok("clock", string.Create(CultureInfo.InvariantCulture, $"within {Math.Ceiling(difference.TotalSeconds)} s of the service's"));
        else
            NotOk("clock", $"it is {difference:c} away from the service's", "set it, and keep it set: systemd-timesyncd or chrony");
    }

    private static string MakerOf(uint property)
    {
        Span<byte> letters = stackalloc byte[sizeof(uint)];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(letters, property);
        return Encoding.ASCII.GetString(letters).Trim('\0', ' ');
    }

    private void Ok(string what, string detail) => output.WriteLine($"ok      {what}: {Plain(detail)}");

    private void NotOk(string what, string detail, string next)
    {
        _well = false;
        output.WriteLine($"not ok  {what}: {Plain(detail)}");
        output.WriteLine($"        next: {Plain(next)}");
    }

    // Names in certificates and answers come from elsewhere: a line stays one line.
    private static string Plain(string text) => string.Concat(text.Select(static c => char.IsControl(c) ? ' ' : c));
}

/// <summary>Where the kernel tells what it was started with.</summary>
internal sealed record DoctorPaths(string CommandLine = "/proc/cmdline");

/// <summary><c>keylime-agent identity</c>: who this machine is, for an operator's list.</summary>
internal static class IdentityCommand
{
    public static async Task RunAsync(AgentOptions options, Func<ITpmDevice> openTpm, TextWriter output, TimeProvider time, CancellationToken cancel)
    {
        await using var tpm = new TpmClient(openTpm(), time);
        await tpm.StartupAsync(keepState: false, cancel);
        await tpm.FlushLeftoversAsync(cancel);
        var keys = await MachineKeys.OpenAsync(tpm, options, cancel);
        try
        {
            var chain = new X509Certificate2Collection();
            chain.ImportFromPem(await keys.ReadCertificatesAsync(cancel));
            output.WriteLine($"id:                  {(options.Uuid == "hash_ek" ? keys.EkHash : options.Uuid)}");
            output.WriteLine($"EK hash:             {Convert.ToHexStringLower(SHA256.HashData(MachineKeys.SpkiOf((await keys.GetEndorsementKeyAsync(cancel)).Public)))}");
            output.WriteLine($"EK template:         {keys.Profile.Name}");
            output.WriteLine($"AK name:             {Convert.ToHexStringLower(keys.AttestationKey.Name.Span)}");
            output.WriteLine($"certificate subject: {(chain.Count == 0 ? "none" : chain[0].Subject.Length == 0 ? "(empty)" : chain[0].Subject)}");
            output.WriteLine($"certificate issuer:  {(chain.Count == 0 ? "none" : chain[0].Issuer)}");
        }
        finally
        {
            await keys.ReleaseEndorsementKeyAsync(cancel);
            await tpm.FlushContextAsync(keys.AttestationKey.Handle, cancel);
        }
    }
}

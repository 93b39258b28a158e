using System.Globalization;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Keylime.Agent.Payloads;
using Keylime.Protocol;
using Keylime.Tpm;

namespace Keylime.Agent;

/// <summary><c>keylime-agent doctor</c>: everything that an attestation needs, looked at one by one; each line ok or not, and what to do next.</summary>
/// <param name="drop">Becomes the user that the agent runs as: what that one may not do, the agent may not.</param>
internal sealed partial class Doctor(AgentOptions options, Func<ITpmDevice> openTpm, Action drop, TextWriter output, TimeProvider time, DoctorPaths paths)
{
    private const uint Manufacturer = 0x105;    // TPM_PT_MANUFACTURER, Part 2, 6.13
    private const uint FirmwareVersion = 0x10B; // TPM_PT_FIRMWARE_VERSION_1

    private readonly DoctorLines _lines = new(output);

    /// <returns>True where nothing is wrong.</returns>
    public async Task<bool> RunAsync(CancellationToken cancel)
    {
        // In the agent's own order: the logs while it still may, everything else as the one who it becomes.
        CheckIma();
        CheckBootLog();
        CheckPrivileges();
        var home = CheckHome();
        CheckPayloads();
        var id = await CheckTpmAsync(home, cancel);
        await CheckNamesAsync(cancel);
        await CheckServiceAsync(id, cancel);
        _lines.Finish();
        return _lines.AllWell;
    }

    private void CheckPrivileges()
    {
        try
        {
            drop();
            _lines.Ok("privileges", options.RunAs.Length == 0 ? "run_as is empty: the agent stays who it is" : $"after it has opened the logs the agent is {options.RunAs}");
        }
        catch (OptionsException e)
        {
            _lines.NotOk("privileges", e.Message, e.Hint);
        }
    }

    private bool CheckHome()
    {
        var owner = options.RunAs.Length == 0 ? "who the agent runs as" : options.RunAs;
        if (!Directory.Exists(options.KeylimeDir))
        {
            _lines.NotOk("keylime_dir", $"{options.KeylimeDir} is not there", $"make it, of mode 0700, and give it to {owner}");
            return false;
        }

        try
        {
            var probe = Path.Combine(options.KeylimeDir, $".doctor-{Guid.NewGuid():N}");
            using (new FileStream(probe, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose))
            {
                // that it can be made is what was asked
            }

            if (File.Exists(options.DataPath))
                File.OpenHandle(options.DataPath).Dispose();
            _lines.Ok("keylime_dir", options.KeylimeDir);
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _lines.NotOk("keylime_dir", e.Message, $"give it, and what is in it, to {owner}: chown -R {owner} {options.KeylimeDir}");
            return false;
        }
    }

    private void CheckPayloads()
    {
        if (options.PayloadDir.Length == 0)
        {
            _lines.Ok("payload_dir", "empty: this machine takes no payloads");
            return;
        }

        try
        {
            using var directory = PayloadDirectory.Open(options.PayloadDir);
            directory.Prove();
            _lines.Ok("payload_dir", $"{options.PayloadDir}: on a tmpfs, and for nobody else");
        }
        catch (IOException e)
        {
            _lines.NotOk("payload_dir", e.Message, e is PayloadDirectoryException known ? known.Hint : "see the kernel's log");
        }
    }

    private async Task<AgentId?> CheckTpmAsync(bool home, CancellationToken cancel)
    {
        try
        {
            await using var tpm = new TpmClient(openTpm(), time);
            await tpm.StartupAsync(keepState: false, cancel);
            await tpm.SelfTestAsync(full: false, cancel);
            var (maker, firmware) = (await tpm.GetPropertyAsync(Manufacturer, cancel) ?? 0, await tpm.GetPropertyAsync(FirmwareVersion, cancel) ?? 0);
            _lines.Ok("TPM", string.Create(CultureInfo.InvariantCulture, $"TPM 2.0 of {MakerOf(maker)}, firmware {firmware >> 16}.{firmware & 0xFFFF}"));

            var banks = await tpm.GetPcrBanksAsync(cancel);
            if (banks.Any(static b => b.Bank is TpmAlgorithm.Sha256 or TpmAlgorithm.Sha384 or TpmAlgorithm.Sha512))
                _lines.Ok("PCR banks", string.Join(", ", banks.Select(static b => b.Bank.ProtocolName() ?? b.Bank.ToString())));
            else
                _lines.NotOk("PCR banks", "no bank of SHA-256 or better is allocated", "allocate one in the firmware's set-up, or with: tpm2_pcrallocate sha256:all; and reboot");

            await tpm.FlushLeftoversAsync(cancel);
            var keys = await MachineKeys.OpenEndorsementAsync(tpm, options, cancel);
            try
            {
                if (!home)
                    _lines.NotSeen("keylime_dir is not ok", "attestation key");
                else if (await keys.TryLoadAttestationKeyAsync(cancel))
                    _lines.Ok("attestation key", Convert.ToHexStringLower(keys.AttestationKey.Name.Span));
                else
                    _lines.Ok("attestation key", $"{options.DataPath} holds none yet: the agent makes one when it starts");
                CheckCertificates(keys.Profile, (await keys.GetEndorsementKeyAsync(cancel)).Public, await keys.ReadCertificatesAsync(cancel));
                return options.Uuid == "hash_ek" ? AgentId.Parse(keys.EkHash) : AgentId.TryParse(options.Uuid, null, out var id) ? id : null;
            }
            finally
            {
                await keys.ReleaseAsync(cancel);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or TpmRefusedException or TpmFormatException or OptionsException)
        {
            _lines.NotOk("TPM", e.Message, e is OptionsException known ? known.Hint : "is there a /dev/tpmrm0, and may this user (group tss) use it? Is the TPM switched on in the firmware's set-up?");
            _lines.NotSeen("the TPM is not ok", "PCR banks", "attestation key", "EK certificate", "EK chain");
            return null;
        }
    }

    private void CheckCertificates(EndorsementKeyProfile profile, PublicArea key, string pem)
    {
        var chain = new X509Certificate2Collection();
        try
        {
            chain.ImportFromPem(pem);
        }
        catch (CryptographicException e)
        {
            _lines.NotOk("EK certificate", $"what the TPM has at NV 0x{profile.CertificateIndex:x8} and above cannot be read: {e.Message}", "choose another key with tpm_ek_profile, or put this one's hash (keylime-agent identity) on the service's list");
            _lines.NotSeen("there is no EK certificate that can be read", "EK chain");
            return;
        }

        if (chain.Count == 0)
        {
            _lines.NotOk("EK certificate", string.Create(CultureInfo.InvariantCulture, $"the TPM has none for its {profile.Name} key (NV 0x{profile.CertificateIndex:x8})"),
                "put the key's hash (keylime-agent identity) on the service's list, and have the service accept ek-list; or choose another key with tpm_ek_profile");
            _lines.NotSeen("there is no EK certificate", "EK chain");
            return;
        }

        var leaf = chain[0];
        var now = time.GetUtcNow();
        if (now < leaf.NotBefore.ToUniversalTime() || now > leaf.NotAfter.ToUniversalTime())
            _lines.NotOk("EK certificate", $"valid from {leaf.NotBefore.ToUniversalTime():u} to {leaf.NotAfter.ToUniversalTime():u} only", "is the clock right?");
        else if (!IsOf(leaf, key))
            _lines.NotOk("EK certificate", $"it is not of this TPM's {profile.Name} key", "the maker of the TPM, or of the virtual machine, has put the certificate of another key there; choose another key with tpm_ek_profile");
        else
            _lines.Ok("EK certificate", $"{profile.Name}, of '{leaf.Issuer}', to {leaf.NotAfter.ToUniversalTime():yyyy-MM-dd}");

        var top = leaf;
        while (chain.FirstOrDefault(c => c.SubjectName.RawData.AsSpan().SequenceEqual(top.IssuerName.RawData)) is { } issuer && !ReferenceEquals(issuer, top))
            top = issuer;
        _lines.Ok("EK chain", chain.Count == 1
            ? $"the TPM has no certificates above it: the service must trust '{leaf.Issuer}'"
            : $"{chain.Count - 1} certificates in the TPM; the service must trust '{top.Issuer}'");
    }

    // The key's own bytes: makers name the algorithm in more than one way.
    private static bool IsOf(X509Certificate2 certificate, PublicArea key) =>
        certificate.PublicKey.EncodedKeyValue.RawData.AsSpan().SequenceEqual(PublicKey.CreateFromSubjectPublicKeyInfo(MachineKeys.SpkiOf(key), out _).EncodedKeyValue.RawData);

    private void CheckIma()
    {
        if (!File.Exists(options.ImaMlPath))
        {
            _lines.NotOk("IMA list", $"{options.ImaMlPath} is not there", "mount securityfs; boot a kernel with CONFIG_IMA; run this as root");
            _lines.NotSeen("there is no IMA list", "IMA policy");
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
            _lines.NotOk("IMA list", e.Message, "run this as root: the agent opens the list before it drops its privileges");
            _lines.NotSeen("the IMA list cannot be read", "IMA policy");
            return;
        }

        _lines.Ok("IMA list", string.Create(CultureInfo.InvariantCulture, $"{lines} lines"));
        var commandLine = File.Exists(paths.CommandLine) ? File.ReadAllText(paths.CommandLine) : "";
        if (lines > 1 || commandLine.Contains("ima_policy=", StringComparison.Ordinal))
            _lines.Ok("IMA policy", lines > 1 ? "files are measured" : "named on the kernel's command line");
        else
            _lines.NotOk("IMA policy", "nothing but the boot aggregate is measured", "add ima_policy=tcb to the kernel's command line, or write a policy to /etc/ima/ima-policy, and reboot");
    }

    private void CheckBootLog()
    {
        try
        {
            var log = UefiLog.Read(options.MeasuredbootMlPath);
            if (log.Length == 0)
                _lines.NotOk("boot log", $"{options.MeasuredbootMlPath} is not there, or empty", "measured boot needs UEFI and a TPM that the firmware uses; without it only what runs later is proven");
            else
                _lines.Ok("boot log", string.Create(CultureInfo.InvariantCulture, $"{UefiLog.CountEvents(log)} events, {log.Length} bytes"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _lines.NotOk("boot log", e.Message, "run this as root: the agent opens the log before it drops its privileges");
        }
    }

    private static string MakerOf(uint property)
    {
        Span<byte> letters = stackalloc byte[sizeof(uint)];
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(letters, property);
        return Encoding.ASCII.GetString(letters).Trim('\0', ' ');
    }
}

/// <summary>Where the kernel tells what it was started with.</summary>
internal sealed record DoctorPaths(string CommandLine = "/proc/cmdline");

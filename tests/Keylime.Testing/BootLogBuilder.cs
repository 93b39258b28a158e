using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using Keylime.Attestation;
using Keylime.Tpm;

namespace Keylime.Testing;

/// <summary>Writes boot logs as firmware and boot loaders do, or as a test wants them forged, and extends a TPM to match.</summary>
/// <remarks><see cref="Events"/> may be changed at will: swapped, dropped, flipped. What is in event data is in <see cref="BootData"/>.</remarks>
public sealed class BootLogBuilder
{
    private readonly ImmutableArray<TpmAlgorithm> _banks;

    /// <param name="banks">None for the SHA-1 form without a Spec ID event.</param>
    public BootLogBuilder(params ImmutableArray<TpmAlgorithm> banks)
    {
        _banks = banks;
        if (banks.IsEmpty)
            return;
        byte[] algorithms = [.. banks.SelectMany(static bank => (byte[])[.. BootData.U16((ushort)bank), .. BootData.U16((ushort)bank.DigestSize())])];
        Events.Add(new WrittenEvent(0, BootEventTypes.NoAction, [(TpmAlgorithm.Sha1, new byte[20])],
            [.. "Spec ID Event03\0"u8, .. BootData.U32(0), 0, 2, 105, 2, .. BootData.U32((uint)banks.Length), .. algorithms, 0]));
    }

    /// <summary>In a crypto-agile log the first one is the Spec ID event.</summary>
    public IList<WrittenEvent> Events { get; } = [];

    private bool IsAgile => !_banks.IsEmpty;

    /// <summary>A machine with Secure Boot that boots shim, GRUB and a kernel from its disk, as Debian does.</summary>
    public static BootLogBuilder Debian(params ImmutableArray<TpmAlgorithm> banks)
    {
        var log = new BootLogBuilder(banks)
            .Add(0, BootEventTypes.CrtmVersion, BootData.Utf16("1.0"))
            .AddMeasured(0, BootEventTypes.FirmwareBlob, BootData.Blob(0x8C_0000, 0x1_0000), "firmware"u8)
            .Variable(7, BootEventTypes.VariableDriverConfig, EfiGuids.GlobalVariable, "SecureBoot", [1])
            .Variable(7, BootEventTypes.VariableDriverConfig, EfiGuids.GlobalVariable, "PK", BootData.X509List("PK"u8))
            .Variable(7, BootEventTypes.VariableDriverConfig, EfiGuids.GlobalVariable, "KEK", BootData.X509List("KEK"u8))
            .Variable(7, BootEventTypes.VariableDriverConfig, EfiGuids.ImageSecurityDatabase, "db", BootData.X509List("db"u8))
            .Variable(7, BootEventTypes.VariableDriverConfig, EfiGuids.ImageSecurityDatabase, "dbx", BootData.Sha256List("bad 1"u8, "bad 2"u8))
            .Separator(7)
            .AddMeasured(1, BootEventTypes.HandoffTables, BootData.Tables((EfiGuids.Sha256, 0xF_0000)), "tables"u8)
            .BootVariable("BootOrder", BootData.U16(1))
            .BootVariable("Boot0001", BootData.LoadOption("debian", BootData.DiskPath(@"\EFI\debian\shimx64.efi")))
            .AddMeasured(2, BootEventTypes.BootServicesDriver, BootData.Image(BootData.PciPath()), "option ROM"u8)
            .Action(4, "Calling EFI Application from Boot Option");
        foreach (var pcr in (int[])[0, 1, 2, 3, 4, 5, 6])
            log.Separator(pcr);
        return log
            .Add(5, BootEventTypes.Gpt, BootData.Gpt(("EFI", 2048, 4095), ("root", 4096, 8191)))
            .Variable(7, BootEventTypes.VariableAuthority, EfiGuids.ImageSecurityDatabase, "db", BootData.Signature("db"u8))
            .Image(@"\EFI\debian\shimx64.efi", "shim"u8)
            .Variable(7, BootEventTypes.VariableAuthority, EfiGuids.ShimLock, "SbatLevel", "sbat,1,2024010900\n"u8)
            .Variable(7, BootEventTypes.VariableAuthority, EfiGuids.ShimLock, "Shim", BootData.Signature("vendor"u8))
            .AddMeasured(14, BootEventTypes.Ipl, "MokList\0"u8, BootData.X509List("mok"u8))
            .Variable(7, BootEventTypes.VariableAuthority, EfiGuids.ShimLock, "MokListTrusted", [1])
            .Image(@"\EFI\debian\grubx64.efi", "grub"u8)
            .GrubCommand("linux /vmlinuz root=/dev/vda2 quiet")
            .GrubFile("(hd0,gpt2)/vmlinuz", "kernel"u8)
            .GrubFile("(hd0,gpt2)/initrd.img", "initrd"u8)
            .KernelCommandLine("/vmlinuz root=/dev/vda2 quiet")
            .AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image([]), "kernel, Authenticode"u8)
            .Action(5, "Exit Boot Services Invocation")
            .Action(5, "Exit Boot Services Returned with Success");
    }

    /// <summary>A log that was read, to be written again.</summary>
    public static BootLogBuilder From(BootLog log)
    {
        var builder = log.IsCryptoAgile ? new BootLogBuilder(log.Banks) : new BootLogBuilder();
        builder.Events.Clear();
        foreach (var one in log.Events)
            builder.Events.Add(new WrittenEvent(one.Pcr, one.UntrustedType, [.. one.Digests.Select(static d => (d.Bank, d.Value.ToArray()))], one.Data.ToArray()));
        return builder;
    }

    /// <summary>An event whose digest is that of its data.</summary>
    public BootLogBuilder Add(int pcr, uint type, ReadOnlySpan<byte> data) => AddMeasured(pcr, type, data, data);

    /// <summary>An event whose digest is that of something else.</summary>
    public BootLogBuilder AddMeasured(int pcr, uint type, ReadOnlySpan<byte> data, ReadOnlySpan<byte> measured)
    {
        var digests = ImmutableArray.CreateBuilder<(TpmAlgorithm, byte[])>();
        foreach (var bank in IsAgile ? _banks : [TpmAlgorithm.Sha1])
            digests.Add((bank, CryptographicOperations.HashData(bank.HashName(), measured)));
        Events.Add(new WrittenEvent(pcr, type, digests.ToImmutable(), data.ToArray()));
        return this;
    }

    /// <summary>An EV_NO_ACTION: digests of zeros, extended nowhere.</summary>
    public BootLogBuilder Remark(int pcr, ReadOnlySpan<byte> data)
    {
        Events.Add(new WrittenEvent(pcr, BootEventTypes.NoAction, [.. (IsAgile ? _banks : [TpmAlgorithm.Sha1]).Select(static b => (b, new byte[b.DigestSize()]))], data.ToArray()));
        return this;
    }

    public BootLogBuilder Separator(int pcr, uint value = 0) => Add(pcr, BootEventTypes.Separator, BootData.U32(value));

    public BootLogBuilder Action(int pcr, string text) => Add(pcr, BootEventTypes.EfiAction, Encoding.ASCII.GetBytes(text));

    public BootLogBuilder Variable(int pcr, uint type, Guid vendor, string name, ReadOnlySpan<byte> value) => Add(pcr, type, BootData.Variable(vendor, name, value));

    /// <summary>EV_EFI_VARIABLE_BOOT as EDK II measured it: only the value.</summary>
    public BootLogBuilder BootVariable(string name, ReadOnlySpan<byte> value) =>
        AddMeasured(1, BootEventTypes.VariableBoot, BootData.Variable(EfiGuids.GlobalVariable, name, value), value);

    /// <param name="authenticode">Stands for what the Authenticode hash is computed over.</param>
    public BootLogBuilder Image(string file, ReadOnlySpan<byte> authenticode) =>
        AddMeasured(4, BootEventTypes.BootServicesApplication, BootData.Image(BootData.DiskPath(file)), authenticode);

    public BootLogBuilder GrubCommand(string command) => AddMeasured(8, BootEventTypes.Ipl, Encoding.UTF8.GetBytes($"grub_cmd: {command}\0"), Encoding.UTF8.GetBytes(command));

    public BootLogBuilder KernelCommandLine(string line) => AddMeasured(8, BootEventTypes.Ipl, Encoding.UTF8.GetBytes($"kernel_cmdline: {line}\0"), Encoding.UTF8.GetBytes(line));

    public BootLogBuilder GrubFile(string path, ReadOnlySpan<byte> content) => AddMeasured(9, BootEventTypes.Ipl, Encoding.UTF8.GetBytes(path + '\0'), content);

    /// <summary>systemd-stub, PCR 11: the name of a section, and then the section.</summary>
    public BootLogBuilder UkiSection(string name, ReadOnlySpan<byte> content) =>
        AddMeasured(11, BootEventTypes.Ipl, BootData.Utf16(name), Encoding.ASCII.GetBytes(name + '\0'))
            .AddMeasured(11, BootEventTypes.Ipl, BootData.Utf16(name), content);

    /// <summary>systemd-stub, PCR 12: a command line, measured as it is logged.</summary>
    public BootLogBuilder StubCommandLine(string line) => Add(12, BootEventTypes.Ipl, BootData.Utf16(line));

    public byte[] Build()
    {
        using var log = new MemoryStream();
        for (var i = 0; i < Events.Count; i++)
        {
            var one = Events[i];
            var agile = IsAgile && i > 0;
            log.Write(BootData.U32(unchecked((uint)one.Pcr)));
            log.Write(BootData.U32(one.Type));
            if (agile)
                log.Write(BootData.U32((uint)one.Digests.Length));
            foreach (var (bank, value) in one.Digests)
            {
                if (agile)
                    log.Write(BootData.U16((ushort)bank));
                log.Write(value);
            }

            log.Write(BootData.U32((uint)one.Data.Length));
            log.Write(one.Data);
        }

        return log.ToArray();
    }

    /// <summary>Extends a TPM as the machine did that wrote this log; its PCRs have their values of after a reset.</summary>
    public BootLogBuilder Measure(SoftwareTpm tpm)
    {
        foreach (var one in Events)
        {
            if (one.Type == BootEventTypes.NoAction)
            {
                if (one.Data.AsSpan().StartsWith("StartupLocality\0"u8))
                    StartFrom(tpm, one.Data[16]);
                continue;
            }

            if (one is { Type: BootEventTypes.HcrtmEvent, Pcr: 0 })
                StartFrom(tpm, 4);
            foreach (var (bank, value) in one.Digests)
                tpm.Extend(bank, one.Pcr, value);
        }

        return this;
    }

    /// <summary>The quote of a TPM that was extended with this log and nothing else, verified.</summary>
    public VerifiedQuote Prove(TpmAlgorithm bank, PcrSet pcrs)
    {
        using var tpm = new SoftwareTpm(TpmAlgorithm.Ecdsa);
        Measure(tpm);
        return Prove(tpm, bank, pcrs);
    }

    /// <summary>The quote of a TPM as it is, verified.</summary>
    public static VerifiedQuote Prove(SoftwareTpm tpm, TpmAlgorithm bank, PcrSet pcrs)
    {
        ArgumentNullException.ThrowIfNull(tpm);
        var asked = new PcrSelection(bank, pcrs);
        var nonce = new byte[32];
        if (!AttestationKey.TryCreate(tpm.AttestationKey, out var key, out var refusal))
            throw new InvalidDataException(refusal.Detail);
        using (key)
        {
            var (message, signature, values) = tpm.Quote(nonce, asked);
            return Quote.Verify(key, new QuoteRequest(nonce, asked, key.Scheme), new QuoteEvidence(message, signature, values)) is QuoteResult.Verified { Quote: var quote }
                ? quote
                : throw new InvalidDataException("The TPM's own quote does not verify.");
        }
    }

    private void StartFrom(SoftwareTpm tpm, byte locality)
    {
        foreach (var bank in IsAgile ? _banks : [TpmAlgorithm.Sha1])
            tpm.Set(bank, 0, [.. new byte[bank.DigestSize() - 1], locality]);
    }
}

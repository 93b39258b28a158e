namespace Keylime.Vm.Tests;

/// <summary>Debian's build of OVMF, UEFI for virtual machines, with Secure Boot; and what its variables are when a machine is new.</summary>
internal static class Firmware
{
    public static string Code => Find("OVMF_CODE_4M.secboot.fd");

    /// <summary>With the keys of Microsoft, as computers are sold: Secure Boot is on.</summary>
    public static string WithKeys => Find("OVMF_VARS_4M.ms.fd");

    /// <summary>Without any key: Secure Boot is off.</summary>
    public static string WithoutKeys => Find("OVMF_VARS_4M.fd");

    private static string Find(string name)
    {
        var path = Path.Combine("/usr/share/OVMF", name);
        return File.Exists(path) ? path : throw new VmException($"{path} is not there. It is in the Debian package ovmf: apt-get install ovmf.");
    }
}

using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Keylime.Tpm.Transports;

namespace Keylime.Tpm;

/// <summary>Opens a TPM by its description.</summary>
public static class TpmDevices
{
    /// <summary>The kernel's resource-managed device.</summary>
    public const string ResourceManaged = "/dev/tpmrm0";

    /// <summary>The kernel's raw device, for one program at a time.</summary>
    public const string Raw = "/dev/tpm0";

    private const int MaxSocketPath = 107; // sun_path of Linux, without its final zero

    /// <summary>
    /// Opens <c>/dev/tpmrm0</c>, <c>device:/dev/tpm0</c>, <c>swtpm:host=127.0.0.1,port=2321</c>, <c>swtpm:path=/run/swtpm.sock</c>,
    /// or, of an empty description, the first of the kernel's devices that is there. The words are those of tpm2-tss.
    /// </summary>
    /// <exception cref="FormatException">The description is none of these.</exception>
    /// <exception cref="TpmDeviceException">There is no such device, or it may not be opened.</exception>
    public static ITpmDevice Open(string? description)
    {
        if (string.IsNullOrEmpty(description))
        {
            var found = File.Exists(ResourceManaged) ? ResourceManaged : File.Exists(Raw) ? Raw : null;
            return CharacterDevice.Open(found ?? throw new TpmDeviceException($"This machine has no TPM: neither {ResourceManaged} nor {Raw} is there."));
        }

        if (description.StartsWith('/'))
            return CharacterDevice.Open(description);

        return description.Split(':', 2) switch
        {
            ["device", var path] when path.StartsWith('/') => CharacterDevice.Open(path),
            ["swtpm", var options] => OpenSwtpm(options, description),
            _ => throw Unknown(description),
        };
    }

    private static SwtpmDevice OpenSwtpm(string options, string description)
    {
        var (host, port, path) = ("127.0.0.1", 2321, (string?)null);
        foreach (var option in options.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            switch (option.Split('=', 2))
            {
                case ["host", { Length: > 0 } value]:
                    host = value;
                    break;
                case ["port", var value] when ushort.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number > 0:
                    port = number;
                    break;
                case ["path", { Length: > 0 and <= MaxSocketPath } value]:
                    path = value;
                    break;
                default:
                    throw Unknown(description);
            }
        }

        return new SwtpmDevice(path is null ? new DnsEndPoint(host, port) : new UnixDomainSocketEndPoint(path), TimeProvider.System);
    }

    private static FormatException Unknown(string description) => new(
        $"'{description}' describes no TPM. Expected: /dev/tpmrm0, device:/dev/tpm0, swtpm:host=127.0.0.1,port=2321, or swtpm:path=/run/swtpm.sock (a path of 107 bytes at most).");
}

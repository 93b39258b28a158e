using System.Text;
using Keylime.Tpm;

namespace Keylime.Vm.Tests;

/// <summary>The TPM of a virtual machine as its kernel gives it to programs: each command goes through a shell inside.</summary>
/// <remarks>One file stays open for all of them, because the kernel keeps what is loaded for each file apart.</remarks>
internal sealed class GuestTpm(VirtualMachine machine) : ITpmDevice
{
    private bool _open;

    public async ValueTask<ReadOnlyMemory<byte>> SendAsync(ReadOnlyMemory<byte> command, CancellationToken cancel)
    {
        if (!_open)
            await machine.RunAsync("exec 3<>/dev/tpmrm0", cancel);
        _open = true;

        var octal = new StringBuilder();
        foreach (var value in command.Span)
            octal.Append('\\').Append(Convert.ToString(value, 8).PadLeft(3, '0'));
        // By a file, because printf writes in pieces, and the kernel takes a command in one.
        var response = await machine.RunAsync(
            $"printf '{octal}' >/run/command && dd bs=4096 if=/run/command >&3 2>/dev/null && dd bs=4096 count=1 <&3 2>/dev/null | base64", cancel);
        return Convert.FromBase64String(response.ReplaceLineEndings(""));
    }

    public async ValueTask DisposeAsync()
    {
        if (_open)
            await machine.RunAsync("exec 3>&-", CancellationToken.None);
    }
}

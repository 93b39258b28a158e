using System.Runtime.InteropServices;
using Keylime.Agent;
using Keylime.Tpm;

const int ok = 0;
const int error = 1;
const int usage = 2;

if (args is [] or ["--help" or "-h" or "help", ..])
{
    Console.WriteLine($"""
        keylime-agent: proves, with this machine's TPM 2.0, what it runs.

        usage: keylime-agent run|once|doctor|identity [--config FILE] [--OPTION VALUE ...]

          run       attests for ever, until SIGTERM
          once      attests once: exit code 0 passed, 3 failed, 1 not done, 2 wrong use
          doctor    looks at everything that an attestation needs: exit code 0 all is well, 1 something is not
          identity  prints who this machine is, for an operator's list

        options, as in agent.conf and as KEYLIME_AGENT_<OPTION>:
          {string.Join("\n  ", OptionsReader.Flags)}
        """);
    return args is [] ? usage : ok;
}

if (args is ["--version"])
{
    Console.WriteLine(typeof(AgentLoop).Assembly.GetName().Version?.ToString(3));
    return ok;
}

SmallHeap.LeaveSystemCertificates();
using var stopping = new CancellationTokenSource();
using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
try
{
    var options = OptionsReader.Read(ParseFlags(args), Environment.GetEnvironmentVariable);
    if (args[0] == "doctor")
        return await new Doctor(options, () => TpmDevices.Open(options.Tpm), () => Privileges.Drop(options.RunAs), Console.Out, TimeProvider.System, new DoctorPaths()).RunAsync(stopping.Token) ? ok : error;
    if (args[0] == "identity")
    {
        await IdentityCommand.RunAsync(options, () => TpmDevices.Open(options.Tpm), Console.Out, TimeProvider.System, stopping.Token);
        return ok;
    }

    var bootTime = BootTime.Read();
    using var ima = ImaLogFile.Open(options.ImaMlPath);
    var uefiLog = UefiLog.Read(options.MeasuredbootMlPath);
    Privileges.Drop(options.RunAs);
    AgentData.CloseFolder(options.KeylimeDir);

    using var heart = new Heartbeat(Environment.GetEnvironmentVariable, TimeProvider.System);
    var loop = new AgentLoop(options, () => TpmDevices.Open(options.Tpm), ima, uefiLog, bootTime, TimeProvider.System) { Resting = heart.Expect };
    return await loop.RunAsync(once: args[0] == "once", stopping.Token);
}
catch (OperationCanceledException) when (stopping.IsCancellationRequested)
{
    return ok;
}
catch (OptionsException e)
{
    return Fail(e.Message, e.Hint, usage);
}
catch (ServiceRefusedException e)
{
    return Fail(e.Message, e.Hint, error);
}
catch (HttpRequestException e)
{
    return Fail(e.Message, "is verifier_url right, and verifier_tls_ca_cert the service's ca.pem?", error);
}
catch (Exception e) when (e is IOException or UnauthorizedAccessException or TpmRefusedException or TpmFormatException or FormatException or System.Security.Cryptography.CryptographicException)
{
    return Fail(e.Message, "/dev/tpmrm0 is usually for the group tss; the measurement list is for root", error);
}

// A TPM may take seconds for one command, and cannot be interrupted: nobody waits for it longer than a moment.
void Stop(PosixSignalContext signal)
{
    signal.Cancel = true;
    stopping.Cancel();
    _ = new Timer(static _ => Environment.Exit(ok), null, TimeSpan.FromMilliseconds(1500), Timeout.InfiniteTimeSpan);
}

static int Fail(string message, string hint, int code)
{
    Console.Error.WriteLine($"error: {message}");
    Console.Error.WriteLine($"hint: {hint}");
    return code;
}

static List<(string Name, string Value)> ParseFlags(string[] args)
{
    if (args[0] is not ("run" or "once" or "doctor" or "identity"))
        throw new OptionsException($"'{args[0]}' is none of run, once, doctor and identity.", "keylime-agent --help");

    var flags = new List<(string, string)>();
    for (var i = 1; i < args.Length; i++)
    {
        if (!args[i].StartsWith("--", StringComparison.Ordinal))
            throw new OptionsException($"'{args[i]}' is no option.", "keylime-agent --help");
        if (args[i][2..].Split('=', 2) is [var name, var value])
            flags.Add((name, value));
        else if (++i < args.Length)
            flags.Add((args[i - 1][2..], args[i]));
        else
            throw new OptionsException($"'{args[i - 1]}' has no value.", "keylime-agent --help");
    }

    return flags;
}

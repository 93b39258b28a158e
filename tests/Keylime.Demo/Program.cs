using System.Runtime.InteropServices;
using Keylime.Demo;

const int seconds = 170;

var (once, hosted) = (args.Contains("--once"), args.Contains("--host"));
if (args.Except(["--once", "--host"]).Any())
{
    Console.Error.WriteLine("error: unknown arguments\nhint: Keylime.Demo, with --once or --host");
    return 2;
}

using var stop = new CancellationTokenSource();
using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
if (once)
    stop.CancelAfter(TimeSpan.FromSeconds(seconds));

var folder = Directory.CreateTempSubdirectory("keylime-").FullName; // mode 0700
try
{
    await using var story = new Story(folder, once, hosted);
    await story.PlayAsync(stop.Token);
    return 0;
}
catch (OperationCanceledException)
{
    if (!once)
        return 0;
    Console.Error.WriteLine($"error: stopped, or not done within {seconds} s");
    return 1;
}
catch (Exception e) when (e is DemoException or InvalidOperationException or IOException)
{
    Console.Error.WriteLine($"error: {e.Message}");
    foreach (var log in Directory.EnumerateFiles(folder, "*.log"))
    {
        Console.Error.WriteLine($"--- {Path.GetFileName(log)}, its last lines");
        foreach (var line in File.ReadLines(log).TakeLast(8))
            Console.Error.WriteLine(line);
    }

    return 1;
}
finally
{
    Directory.Delete(folder, recursive: true);
}

void Stop(PosixSignalContext context)
{
    context.Cancel = true;
    stop.Cancel();
}

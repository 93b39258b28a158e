using Keylime.Tenant;

using var stop = new CancellationTokenSource();
Console.CancelKeyPress += (_, pressed) =>
{
    pressed.Cancel = true;
    stop.Cancel();
};
return await Cli.RunAsync(args, Surroundings.OfThisProcess(), stop.Token);

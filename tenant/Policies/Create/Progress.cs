using System.Globalization;

namespace Keylime.Tenant;

/// <summary>Tells on the standard error how far long work is: on a terminal in one line that changes, elsewhere a line every few seconds.</summary>
internal sealed class Progress(Surroundings surroundings) : IDisposable
{
    private const string ToLineStart = "\r\u001b[K";
    private static readonly TimeSpan OnTerminal = TimeSpan.FromMilliseconds(200);
    private static readonly TimeSpan Elsewhere = TimeSpan.FromSeconds(5);

    private long _last = surroundings.Clock.GetTimestamp();
    private bool _hasLine;

    /// <param name="what">What is being done.</param>
    /// <param name="count">How many are done.</param>
    public void Report(string what, long count)
    {
        if (surroundings.Clock.GetElapsedTime(_last) < (surroundings.ErrorIsTerminal ? OnTerminal : Elsewhere))
            return;
        _last = surroundings.Clock.GetTimestamp();
        var line = string.Create(CultureInfo.InvariantCulture, $"{PlainText.From(what)}: {count:N0} files");
        if (surroundings.ErrorIsTerminal)
            surroundings.Error.Write(ToLineStart + line);
        else
            surroundings.Error.WriteLine(line);
        _hasLine = surroundings.ErrorIsTerminal;
    }

    public void Dispose()
    {
        if (_hasLine)
            surroundings.Error.Write(ToLineStart);
    }
}

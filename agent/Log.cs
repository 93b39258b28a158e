using System.Globalization;

namespace Keylime.Agent;

/// <summary>One line an event on standard error, which systemd's journal takes with its level (sd-daemon(3)). No secrets, no evidence.</summary>
internal static class Log
{
    public static void Info(FormattableString message) => Write("<6>", message);

    public static void Warning(FormattableString message) => Write("<4>", message);

    public static void Error(FormattableString message) => Write("<3>", message);

    private static void Write(string level, FormattableString message)
    {
        var text = message.ToString(CultureInfo.InvariantCulture);

        // What a service sends may end up in a message: a line stays one line, and moves no cursor.
        Console.Error.WriteLine(level + string.Create(text.Length, text, static (span, from) =>
        {
            for (var i = 0; i < span.Length; i++)
                span[i] = char.IsControl(from[i]) ? ' ' : from[i];
        }));
    }
}

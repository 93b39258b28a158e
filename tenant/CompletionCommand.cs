using System.CommandLine;
using System.Text.RegularExpressions;

namespace Keylime.Tenant;

/// <summary><c>keylime completion bash|zsh|fish</c>: what makes a shell complete this tool's commands. The tool itself answers what there is.</summary>
internal static partial class CompletionCommand
{
    private const string Directive = "[suggest:";

    // A word that readline ends at an equals sign is completed behind it.
    private const string Bash = """
        # keylime: completion for bash. In ~/.bashrc: source <(keylime completion bash)
        _keylime() {
            local IFS=$'\n' word="${COMP_WORDS[COMP_CWORD]}"
            [ "$word" != = ] || word=
            COMPREPLY=($(compgen -W "$(keylime "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "$word"))
        }
        complete -o default -F _keylime keylime
        """;

    private const string Zsh = """
        #compdef keylime
        # keylime: completion for zsh. In ~/.zshrc: source <(keylime completion zsh)
        _keylime() {
            local -a found
            found=("${(@f)$(keylime "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
            compset -P '--*='
            compadd -- "${found[@]}"
        }
        compdef _keylime keylime
        """;

    private const string Fish = """
        # keylime: completion for fish. keylime completion fish > ~/.config/fish/completions/keylime.fish
        complete -c keylime -f -a '(string replace -r "^" (string match -r -- "^--[^=]*=" (commandline -ct); or echo "") (keylime "[suggest:"(commandline -C)"]" (commandline -b) 2>/dev/null))'
        """;

    /// <summary>
    /// What a shell asks with: <c>[suggest:POSITION] LINE</c>. An option and its value are told apart by a space in it, for the library that answers looks for
    /// no value behind an equals sign. The position stays.
    /// </summary>
    public static IReadOnlyList<string> Prepare(IReadOnlyList<string> args) =>
        args is [var directive, var line] && directive.StartsWith(Directive, StringComparison.Ordinal) ? [directive, OptionAndValue.Replace(line, "$1 ")] : args;

    [GeneratedRegex(@"(?<=\s)(--[a-z-]+)=")]
    private static partial Regex OptionAndValue { get; }

    public static Command Create(Surroundings surroundings)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish." };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command("completion", "Write what makes a shell complete these commands.") { shell };
        command.SetAction(parsed => surroundings.Out.WriteLine(parsed.GetValue(shell) switch { "bash" => Bash, "zsh" => Zsh, _ => Fish }));
        return command;
    }
}

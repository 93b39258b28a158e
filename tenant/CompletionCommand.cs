using System.CommandLine;

namespace Keylime.Tenant;

/// <summary><c>keylime completion bash|zsh|fish</c>: what makes a shell complete this tool's commands. The tool itself answers what there is.</summary>
internal static class CompletionCommand
{
    private const string Bash = """
        # keylime: completion for bash. In ~/.bashrc: source <(keylime completion bash)
        _keylime() {
            local IFS=$'\n'
            COMPREPLY=($(compgen -W "$(keylime "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
        }
        complete -o default -F _keylime keylime
        """;

    private const string Zsh = """
        # keylime: completion for zsh. In ~/.zshrc: source <(keylime completion zsh)
        _keylime() {
            local -a found
            found=("${(@f)$(keylime "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
            compadd -- "${found[@]}"
        }
        compdef _keylime keylime
        """;

    private const string Fish = """
        # keylime: completion for fish. keylime completion fish > ~/.config/fish/completions/keylime.fish
        complete -c keylime -f -a '(keylime "[suggest:"(commandline -C)"]" (commandline -b) 2>/dev/null)'
        """;

    public static Command Create(Surroundings surroundings)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish." };
        shell.AcceptOnlyFromAmong("bash", "zsh", "fish");
        var command = new Command("completion", "Write what makes a shell complete these commands.") { shell };
        command.SetAction(parsed => surroundings.Out.WriteLine(parsed.GetValue(shell) switch { "bash" => Bash, "zsh" => Zsh, _ => Fish }));
        return command;
    }
}

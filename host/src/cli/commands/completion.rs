//! `completion`: scripts that let a shell ask this program what may come next.

use clap::ValueEnum;

use crate::cli::print;
use crate::error::Result;
use crate::ui::Ui;

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

const EXAMPLES: &str = "Examples:
  source <(bkhost completion bash)
  bkhost completion zsh > \"${fpath[1]}/_bkhost\"
  bkhost completion fish > ~/.config/fish/completions/bkhost.fish";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Prints the script. Each asks `bkhost __complete WORDS…`, which answers one candidate per line, a tab before its
/// description, and a last line `:0` (files may follow) or `:4` (no files).
pub fn run(ui: &Ui, args: &Args) -> Result<()> {
    print(
        ui,
        match args.shell {
            Shell::Bash => BASH,
            Shell::Zsh => ZSH,
            Shell::Fish => FISH,
            Shell::Powershell => POWERSHELL,
        },
    )
}

const BASH: &str = r#"# bash completion for bkhost
_bkhost() {
    local line candidates=() directive=":0"
    while IFS= read -r line; do
        case "$line" in
            :*) directive="$line" ;;
            *) candidates+=("${line%%$'\t'*}") ;;
        esac
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    # The program has left out what does not fit; `compgen -W` would run what a name holds.
    COMPREPLY=("${candidates[@]}")
    # Without candidates readline offers files, folders with their slash, unless the word cannot be one.
    [[ "$directive" == ":0" ]] || compopt +o default 2>/dev/null
}
complete -o default -F _bkhost bkhost
"#;

const ZSH: &str = r#"#compdef bkhost
_bkhost() {
    local line directive=":0"
    local -a candidates
    while IFS= read -r line; do
        case "$line" in
            :*) directive="$line" ;;
            *$'\t'*) candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
            *) candidates+=("${line//:/\\:}") ;;
        esac
    done < <("${words[1]}" __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#candidates} )); then
        _describe 'bkhost' candidates
    elif [[ "$directive" == ":0" ]]; then
        _files
    fi
}
if [ "$funcstack[1]" = "_bkhost" ]; then
    _bkhost "$@"
else
    compdef _bkhost bkhost
fi
"#;

const FISH: &str = r#"# fish completion for bkhost
function __bkhost_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer (bkhost __complete -- $words[2..-1] 2>/dev/null)
    set -l candidates (string match --invert --regex '^:[0-9]+$' -- $answer)
    if test (count $candidates) -gt 0
        string join \n -- $candidates
    else if contains -- ':0' $answer
        __fish_complete_path (commandline -ct)
    end
end
complete -c bkhost -f -a '(__bkhost_complete)'
"#;

const POWERSHELL: &str = r#"# PowerShell completion for bkhost
Register-ArgumentCompleter -Native -CommandName bkhost -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { "$_" })
    if ($wordToComplete -eq '') { $words += '' }
    & bkhost __complete -- @words 2>$null | Where-Object { $_ -notmatch '^:[0-9]+$' } | ForEach-Object {
        $name, $description = $_ -split "`t", 2
        if (-not $description) { $description = $name }
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $description)
    }
}
"#;

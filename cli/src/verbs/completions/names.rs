//! Names of models in the scripts: clap knows that a file may follow `--model`, and not which names the daemon has.

use clap::Command;
use clap_complete::Shell;

/// Before the end of bash's script takes its last word: a function that sees to `--model` and leaves the rest to clap's.
const BASH: &str = r#"
# Names of models, asked of a daemon that runs. Those with a colon are left out, since bash takes it for a word's end.
_imgctl_names() {
    local word=${COMP_WORDS[COMP_CWORD]}
    case ${COMP_WORDS[COMP_CWORD - 1]} in
        -m | --model)
            local names
            names=$(imgctl completions --names "${COMP_WORDS[@]}" 2>/dev/null | grep -v '[: ]')
            COMPREPLY=($(compgen -W "$names" -- "$word") $(compgen -f -- "$word"))
            return 0
            ;;
    esac
    _imgctl "$@"
}
complete -F _imgctl_names -o nosort -o bashdefault -o default imgctl 2>/dev/null ||
    complete -F _imgctl_names -o bashdefault -o default imgctl
"#;

/// Before the end of zsh's script: what its `--model` calls.
const ZSH: &str = r#"# Names of models, asked of a daemon that runs.
_imgctl_names() {
    local -a names
    names=(${(f)"$(imgctl completions --names $words 2>/dev/null)"})
    _alternative 'names:name:compadd -a names' 'files:file:_files'
}

"#;

/// How zsh's script says that a file may follow, and where it ends.
const ZSH_FILE: &str = ":NAME|PATH:_default'";
const ZSH_END: &str = "if [ \"$funcstack[1]\" = \"_imgctl\" ]; then";

/// The script with names where it has files alone. Shells that are not known here keep theirs.
pub(super) fn add(shell: Shell, script: &str, command: &Command) -> String {
    match shell {
        Shell::Bash => format!("{script}{BASH}"),
        Shell::Zsh => script
            .replace(ZSH_FILE, ":NAME|PATH:_imgctl_names'")
            .replace(ZSH_END, &format!("{ZSH}{ZSH_END}")),
        Shell::Fish => {
            let line = |verb: &str| {
                format!(
                    "complete -c imgctl -n \"__fish_imgctl_using_subcommand {verb}\" -s m -l model -r \
-a \"(imgctl completions --names (commandline -opc) 2>/dev/null)\"\n"
                )
            };
            let lines: String = verbs_with_models(command).map(line).collect();
            format!("{script}\n# Names of models, asked of a daemon that runs.\n{lines}")
        }
        _ => script.to_owned(),
    }
}

/// The verbs that know `--model`, and their other names.
fn verbs_with_models(command: &Command) -> impl Iterator<Item = &str> {
    let knows = |verb: &&Command| {
        verb.get_arguments()
            .any(|argument| argument.get_long() == Some("model"))
    };
    let verbs = command.get_subcommands().filter(knows);
    verbs.flat_map(|verb| {
        [verb.get_name()]
            .into_iter()
            .chain(verb.get_visible_aliases())
    })
}

#[cfg(test)]
mod tests {
    use clap_complete::Shell;

    use super::super::script;

    #[test]
    fn every_shell_asks_for_names_where_a_model_may_follow() {
        assert!(script(Shell::Bash).contains("complete -F _imgctl_names"));
        let zsh = script(Shell::Zsh);
        // generate, batch, explore, plan, replay and upscale, each by its short and its long flag
        assert!(zsh.matches(":_imgctl_names'").count() >= 12, "{zsh}");
        assert_eq!(zsh.matches("\n_imgctl_names() {").count(), 1);
        let fish = script(Shell::Fish);
        for verb in [
            "generate", "gen", "batch", "explore", "replay", "upscale", "plan",
        ] {
            let line =
                format!("using_subcommand {verb}\" -s m -l model -r -a \"(imgctl completions");
            assert_eq!(fish.matches(&line).count(), 1, "{verb}");
        }
    }
}

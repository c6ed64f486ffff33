//! `palk completions SHELL`: the script that makes a shell complete Palk's command line.
//!
//! The scripts are those of `clap_complete`, and for bash, zsh and fish a function more, which asks
//! `palk client complete-stored` for the names of stored files. An argument that names something stored
//! says so by `STORED`, so a new verb needs nothing here. The library's other engine, which has the
//! program complete everything, is not used: what its scripts say to the program may change with any
//! version, so a script that was saved in a file may stop working.

use clap::builder::ValueHint;
use clap::{Arg, Args, Command};
use clap_complete::{Shell, generate};

use crate::cmd::env::Env;
use crate::cmd::failure::Stop;

/// What an argument of `palk client` completes to if it names a stored file or folder.
pub(crate) const STORED: ValueHint = ValueHint::Other;

/// How the generator is told about such arguments for zsh, and what it makes of that. Nothing else here
/// is a URL.
const STORED_IN_ZSH: (ValueHint, &str) = (ValueHint::Url, ":_urls'");

const AFTER_HELP: &str = "\
bash:        palk completions bash > ~/.local/share/bash-completion/completions/palk
zsh:         palk completions zsh > ~/.zfunc/_palk   (with ~/.zfunc in fpath, before compinit)
fish:        palk completions fish > ~/.config/fish/completions/palk.fish
elvish:      palk completions elvish >> ~/.config/elvish/rc.elv
powershell:  palk completions powershell >> $PROFILE

With bash, zsh and fish, the names of stored files are completed too. The server is asked for them with
the saved sign-in (see \"palk client login\"), and with no password.";

/// Print the script that completes Palk's command line in a shell
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct Completions {
    /// The shell that the script is for
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    ///
    /// # Errors
    /// Those of printing.
    pub fn run(self, command: &Command, env: &mut Env) -> Result<(), Stop> {
        env.prompt(&script(self.shell, command))
    }
}

fn script(shell: Shell, command: &Command) -> String {
    let mut command = shown(command, shell);
    command.build();
    let stored = Stored::of(&command);
    let mut bytes = Vec::new();
    generate(shell, &mut command, "palk", &mut bytes);
    let script = String::from_utf8_lossy(&bytes).into_owned();
    match shell {
        Shell::Bash => script + &stored.in_bash(),
        Shell::Zsh => {
            let (first, rest) = script.split_once('\n').unwrap_or_default();
            let rest = rest.replace(STORED_IN_ZSH.1, ":_palk_stored'");
            format!("{first}\n\n{}{rest}", include_str!("completions/stored.zsh"))
        }
        Shell::Fish => script + &stored.in_fish(),
        _ => script,
    }
}

/// A copy without the subcommands that are hidden: the generators know of no such thing.
fn shown(command: &Command, shell: Shell) -> Command {
    let argument = |argument: &Arg| match shell {
        Shell::Zsh => for_zsh(argument),
        _ => argument.clone(),
    };
    let mut copy = Command::new(command.get_name().to_owned())
        .visible_aliases(command.get_visible_aliases().map(str::to_owned).collect::<Vec<_>>())
        .disable_help_subcommand(true)
        .allow_missing_positional(true) // find [PATH] GLOB
        .args(command.get_arguments().map(argument))
        .groups(command.get_groups().cloned());
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    if let Some(version) = command.get_version() {
        copy = copy.version(version.to_owned());
    }
    let subcommands = command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set());
    copy.subcommands(subcommands.map(|subcommand| shown(subcommand, shell)))
}

/// An argument as the generator has to have it for zsh.
fn for_zsh(argument: &Arg) -> Arg {
    let mut argument = argument.clone();
    if argument.get_value_hint() == STORED {
        argument = argument.value_hint(STORED_IN_ZSH.0);
    }
    // A colon ends the name there, and the generator leaves it as it is.
    let names = argument.get_value_names().unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| name.replace(':', "\\:")).collect();
    if names.is_empty() { argument } else { argument.value_names(names) }
}

/// Where on the command line of `palk client` names of stored files stand.
struct Stored {
    /// The verbs that take them.
    verbs: Vec<String>,
    /// The options that take one, each with its verb.
    options: Vec<(String, String)>,
    /// All options that take a value, with their dashes.
    with_value: Vec<String>,
}

impl Stored {
    fn of(palk: &Command) -> Stored {
        let mut stored = Stored { verbs: Vec::new(), options: Vec::new(), with_value: Vec::new() };
        let verbs = palk.find_subcommand("client").into_iter().flat_map(Command::get_subcommands);
        for verb in verbs {
            let is_stored = |argument: &&Arg| argument.get_value_hint() == STORED;
            for name in verb.get_name_and_visible_aliases() {
                if verb.get_positionals().any(|positional| is_stored(&positional)) {
                    stored.verbs.push(name.to_owned());
                }
                let options = verb.get_opts().filter(is_stored).filter_map(Arg::get_long);
                stored.options.extend(options.map(|long| (name.to_owned(), long.to_owned())));
            }
            for option in verb.get_opts() {
                stored.with_value.extend(option.get_long().map(|long| format!("--{long}")));
                stored.with_value.extend(option.get_short().map(|short| format!("-{short}")));
            }
        }
        stored.with_value.sort();
        stored.with_value.dedup();
        stored
    }

    fn in_bash(&self) -> String {
        let options: Vec<String> =
            self.options.iter().map(|(verb, long)| format!("{verb},--{long}")).collect();
        let with_value: Vec<String> =
            self.with_value.iter().map(|option| format!("*,{option}")).collect();
        let verbs: Vec<String> = self.verbs.iter().map(|verb| format!("{verb},*")).collect();
        include_str!("completions/stored.bash")
            .replace("@OPTIONS@", &options.join(" | "))
            .replace("@WITH_VALUE@", &with_value.join(" | "))
            .replace("@VERBS@", &verbs.join(" | "))
    }

    fn in_fish(&self) -> String {
        let mut lines = vec![include_str!("completions/stored.fish").to_owned()];
        let mut complete = |verbs: &str, option: &str| {
            lines.push(format!(
                "complete -c palk -n \"__fish_palk_using_subcommand client; and \
                 __fish_seen_subcommand_from {verbs}\"{option} -f -a \"(__palk_stored)\"\n"
            ));
        };
        complete(&self.verbs.join(" "), "");
        for (verb, long) in &self.options {
            complete(verb, &format!(" -l {long} -r"));
        }
        lines.concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::command;

    #[test]
    fn every_shell_gets_a_script_without_what_is_hidden() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = script(shell, &command());
            assert!(script.contains("versions") && script.contains("doctor"), "{shell}");
            let asks = script.matches("complete-stored").count();
            let expected = usize::from(matches!(shell, Shell::Bash | Shell::Zsh | Shell::Fish));
            assert_eq!(asks, expected, "{shell}");
            for placeholder in ["@OPTIONS@", "@WITH_VALUE@", "@VERBS@"] {
                assert!(!script.contains(placeholder), "{shell}: {placeholder}");
            }
        }
    }

    #[test]
    fn what_names_something_stored_is_known_in_all_verbs() {
        let mut command = shown(&command(), Shell::Bash);
        command.build();
        let stored = Stored::of(&command);
        let verbs = "rtv get del rm inf ls mkdir rmdir mv cp cat head du find versions undo";
        for verb in verbs.split(' ') {
            assert!(stored.verbs.iter().any(|known| known == verb), "{verb}");
        }
        assert!(!stored.verbs.iter().any(|known| ["store", "put", "trust"].contains(&&**known)));
        assert!(stored.options.contains(&("put".to_owned(), "to".to_owned())));
        assert!(!stored.options.iter().any(|(verb, _)| verb == "rtv"));
        let zsh = script(Shell::Zsh, &self::command());
        assert!(zsh.matches(":_palk_stored'").count() >= stored.options.len());
        assert!(!zsh.contains("_urls"));
        assert!(zsh.contains(r":HOST\:PORT:_default'") && !zsh.contains(":HOST:PORT:"));
    }
}

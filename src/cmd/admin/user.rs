//! `palk admin user`: accounts, for the operator of the server.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, ContentArrangement, Table};
use serde_json::json;

use super::Common;
use crate::cmd::client::password::Source;
use crate::cmd::confirm::{confirm, unconfirmed};
use crate::cmd::env::{Asked, Env, size};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::parse_bytes;
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::wire::admin::{Line, Verb, parse};
use crate::core::wire::users::{Allowance, Secret, UserAsk, UserLine};

/// List, make, disable and remove accounts, and say how much each may store
#[derive(Args, Debug)]
pub(super) struct User {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// List all accounts
    List,
    /// Make an account, also where nobody may sign up
    Add {
        /// Whose
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Give an account another password, and revoke its kept sign-ins
    Passwd {
        /// Whose
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// Let nobody sign in to an account; its files stay
    Disable {
        /// Whose
        name: String,
    },
    /// Let the user of a disabled account sign in again
    Enable {
        /// Whose
        name: String,
    },
    /// Remove an account with all of its files
    Remove {
        /// Whose
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let an account see and mend the cluster by the web page
    Admin {
        /// Which
        name: String,
        /// Take that back
        #[arg(long)]
        revoke: bool,
    },
    /// Say how much an account may store
    Quota {
        /// Whose
        name: String,
        /// 10GB; "none" for no limit; "default" for what holds for all (palk server --quota)
        #[arg(value_name = "SIZE", value_parser = parse_quota)]
        quota: Allowance,
    },
}

/// Where the account's password comes from; without any of these it is asked for twice.
#[derive(Args, Debug)]
struct Password {
    /// Read the account's password from the first line of a file
    #[arg(long, value_name = "FILE", conflicts_with = "password_stdin")]
    password_file: Option<PathBuf>,

    /// Read the account's password from the first line of standard input
    #[arg(long)]
    password_stdin: bool,
}

fn parse_quota(text: &str) -> Result<Allowance, String> {
    match text {
        "none" => Ok(Allowance::Unlimited),
        "default" => Ok(Allowance::Default),
        _ => parse_bytes(text).map(Allowance::Bytes),
    }
}

impl User {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let (ask, done) = match self.action {
            Action::List => return list(common, env),
            Action::Add { name, password } => {
                let password = password.read(&name, env)?;
                let done = format!("Made the account {}", printable(&name));
                (UserAsk::Add { name, password }, done)
            }
            Action::Passwd { name, password } => {
                let password = password.read(&name, env)?;
                let done = format!("Changed the password of {}", printable(&name));
                (UserAsk::Passwd { name, password }, done)
            }
            Action::Disable { name } => {
                let done = format!("Disabled {}; its files are untouched", printable(&name));
                (UserAsk::Disable { name }, done)
            }
            Action::Enable { name } => {
                let done = format!("Enabled {}", printable(&name));
                (UserAsk::Enable { name }, done)
            }
            Action::Remove { name, yes } => {
                if !yes {
                    confirm_removal(&name, env)?;
                }
                let done = format!("Removed {} with all of its files", printable(&name));
                (UserAsk::Remove { name }, done)
            }
            Action::Admin { name, revoke } => {
                let done = match revoke {
                    false => format!("{} is an administrator", printable(&name)),
                    true => format!("{} is no administrator", printable(&name)),
                };
                (UserAsk::Admin { name, admin: !revoke }, done)
            }
            Action::Quota { name, quota } => {
                let name_shown = printable(&name);
                let done = match quota {
                    Allowance::Default => format!("{name_shown} may store what holds for all"),
                    Allowance::Unlimited => format!("{name_shown} may store without a limit"),
                    Allowance::Bytes(bytes) => {
                        format!("{name_shown} may store {} ({bytes} bytes)", size(bytes))
                    }
                };
                (UserAsk::Quota { name, quota }, done)
            }
        };
        super::ask(&common.dir, env, &Verb::User(ask), &mut |_| Ok(()))?;
        if common.json {
            return env.json("result", json!({"code": 0}));
        }
        env.note(&done);
        Ok(())
    }
}

impl Password {
    fn read(self, name: &str, env: &mut Env) -> Result<Secret, Stop> {
        let source = if self.password_stdin {
            Some(Source::StandardInput)
        } else {
            self.password_file.map(Source::File)
        };
        if let Some(source) = source {
            return source.read(env).map(Secret);
        }
        if !env.can_ask() {
            let failure = Failure::new(Code::Usage, "there is no password for the account");
            let hint = "Give it with --password-file FILE or --password-stdin.";
            return Err(failure.hint(hint).into());
        }
        let password = env.ask(&format!("New password of {}: ", printable(name)), Asked::Secret)?;
        // Nobody saw what it was.
        if env.ask("The same again: ", Asked::Secret)? != password {
            let failure = Failure::new(Code::Usage, "the two passwords are not the same");
            return Err(failure.hint("Nothing was changed. Try again.").into());
        }
        Ok(Secret(password))
    }
}

fn confirm_removal(name: &str, env: &mut Env) -> Result<(), Stop> {
    let what = format!("remove {} with all of its files", printable(name));
    let unasked = unconfirmed(&what, "--yes");
    let refused = Failure::new(Code::NotAllowed, "nothing was removed");
    let question = format!("Remove {} with all of its files? (yes or no): ", printable(name));
    confirm(env, &question, unasked, refused)
}

fn list(common: &Common, env: &mut Env) -> Result<(), Stop> {
    let mut users: Vec<UserLine> = Vec::new();
    let mut each = |line: Line| -> Result<(), Error> {
        if let Line::Item(fields) = line {
            users.push(parse(fields)?);
        }
        Ok(())
    };
    super::ask(&common.dir, env, &Verb::User(UserAsk::List), &mut each)?;
    if common.json {
        for user in &users {
            env.json("item", json!(user))?;
        }
        return env.json("result", json!({"code": 0, "accounts": users.len()}));
    }
    if users.is_empty() {
        env.note("There are no accounts. Make one:  palk admin user add NAME");
        return Ok(());
    }
    env.data(&table(&users))?;
    env.flush()
}

fn table(users: &[UserLine]) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["account", "state", "files", "stored", "may store", "kept sign-ins"]);
    for user in users {
        let limit = user.limit.map_or_else(|| "any".to_owned(), size);
        let admin = if user.admin { ", admin" } else { "" };
        table.add_row([
            printable(&user.name),
            format!("{}{admin}", printable(&user.state)),
            user.files.to_string(),
            size(user.bytes),
            limit,
            user.tokens.to_string(),
        ]);
    }
    for column in [2, 3, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str], input: &str) -> (u8, String) {
        let (mut env, screen) = Env::fake(arguments, input);
        (crate::cmd::run(&mut env), screen.err())
    }

    #[test]
    fn a_quota_is_a_size_or_a_word() {
        assert_eq!(parse_quota("10GB"), Ok(Allowance::Bytes(10_000_000_000)));
        assert_eq!(parse_quota("none"), Ok(Allowance::Unlimited));
        assert_eq!(parse_quota("default"), Ok(Allowance::Default));
        assert!(parse_quota("much").is_err());
    }

    #[test]
    fn nothing_is_asked_of_a_server_without_a_password_or_a_yes() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let (code, said) = run(&["admin", "user", "add", "ann", "--dir", dir], "");
        assert_eq!(code, 2);
        assert!(said.contains("--password-stdin"), "{said}");
        let (code, said) = run(&["admin", "user", "remove", "ann", "--dir", dir], "");
        assert_eq!(code, 2);
        assert!(said.contains("--yes"), "{said}");
        // A password is never an argument.
        assert_eq!(run(&["admin", "user", "passwd", "ann", "secret", "--dir", dir], "").0, 2);
        let both = ["admin", "user", "add", "ann", "--password-stdin", "--dir", dir];
        assert_eq!(run(&both, "pw\n").0, 6, "there is no server");
    }

    #[test]
    fn a_list_shows_what_each_account_has() {
        let user = UserLine {
            name: "demo".into(),
            state: "disabled".into(),
            created_ms: 0,
            files: 3,
            bytes: 2_000_000,
            quota: Allowance::Default,
            limit: None,
            tokens: 1,
            admin: true,
        };
        let shown = table(&[user]);
        let words: Vec<&str> = shown.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(words, ["demo", "disabled,", "admin", "3", "2.0", "MB", "any", "1"]);
    }
}

//! The command line: one file for each subcommand, and [`mod@env`] as the only door to the terminal.
//!
//! A subcommand is a clap struct with a `run(self, &mut Env) -> Result<(), Stop>`; whatever it
//! returns becomes text and exit status in one place, [`run`].

pub mod admin;
pub mod client;
pub mod completions;
mod confirm;
pub mod demo;
pub mod doctor;
pub mod env;
pub mod failure;
pub mod keygen;
pub mod man;
pub mod rescue;
pub mod server;
pub mod service;
pub mod status;
pub mod storage;
mod when;

use std::ffi::OsStr;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::env::Env;
use self::failure::Stop;
use crate::core::error::Code;

/// A file store over four storage nodes: any two can be lost and every file is still there.
#[derive(Parser, Debug)]
#[command(name = "palk", version, max_term_width = 100)]
struct Palk {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Admin(admin::Admin),
    Client(client::Client),
    Completions(completions::Completions),
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Keygen(keygen::Keygen),
    Man(man::Man),
    Rescue(rescue::Rescue),
    Server(server::Server),
    Status(status::Status),
    Storage(storage::Storage),
    Top(status::Top),
}

/// Reads a size (`10GB`, `1GiB`, `4096`), in bytes.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong =
        |_| "a size is a number of bytes, kB, MB, GB, KiB, MiB or GiB: 4096, 10GB".to_owned();
    text.parse().map(|size: bytesize::ByteSize| size.as_u64()).map_err(wrong)
}

/// Runs the program on its command line and gives its exit status.
pub fn run(env: &mut Env) -> u8 {
    let command = without_empty_variables(command());
    let result = match service::config::with_file(env.args(), &command, env) {
        Err(failure) => Err(failure.into()),
        Ok(args) => {
            let matches = command.try_get_matches_from(args);
            match matches.and_then(|matches| Palk::from_arg_matches(&matches)) {
                Ok(palk) => dispatch(palk.command, env),
                Err(usage) => env.usage(&usage),
            }
        }
    };
    // What was logged comes before what is said about it.
    service::log::flush();
    env.finish(result)
}

/// The whole command line, as it is declared.
fn command() -> clap::Command {
    Palk::command()
}

/// An environment variable that is set to nothing is not set.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = command.mut_args(|argument| match argument.get_env() {
        Some(name) if is_empty(name) => argument.env(None),
        _ => argument,
    });
    command.mut_subcommands(without_empty_variables)
}

fn dispatch(subcommand: Command, env: &mut Env) -> Result<(), Stop> {
    match subcommand {
        Command::Admin(admin) => admin.run(env),
        Command::Client(client) => client.run(env),
        Command::Completions(completions) => completions.run(&command(), env),
        Command::Demo(demo) => demo.run(env),
        Command::Doctor(doctor) => doctor.run(env),
        Command::Keygen(keygen) => keygen.run(env),
        Command::Man(man) => man.run(command(), env),
        Command::Rescue(rescue) => rescue.run(env),
        Command::Server(server) => server.run(env),
        Command::Status(status) => status.run(env),
        Command::Storage(storage) => storage.run(env),
        Command::Top(top) => top.run(env),
    }
}

/// A time as it is written on the command line: a number and s, m, h or d. `None` if it is not one.
fn parse_time(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let count: u32 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    Some(Duration::from_secs(seconds * u64::from(count)))
}

/// The status of a command that was interrupted.
pub(crate) const INTERRUPTED: i32 = Code::Interrupted.exit_status() as i32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_free_of_contradictions() {
        command().debug_assert();
    }

    #[test]
    fn the_version_is_data() {
        let (mut env, screen) = Env::fake(&["--version"], "");
        assert_eq!(run(&mut env), 0);
        assert_eq!(screen.out(), format!("palk {}\n", env!("CARGO_PKG_VERSION")));
    }

    #[test]
    fn a_wrong_command_line_is_status_2() {
        let (mut env, screen) = Env::fake(&["client", "--colour"], "");
        assert_eq!(run(&mut env), 2);
        assert!(screen.out().is_empty());
        assert!(screen.err().contains("--colour"));
        let (mut env, screen) = Env::fake(&["client", "--json", "del"], "");
        assert_eq!(run(&mut env), 2);
        assert!(screen.out().starts_with(r#"{"#) && screen.out().contains(r#""code":2"#));
    }
}

//! `--config FILE`: options of `palk server` and `palk storage` in a file.
//!
//! ```toml
//! listen = "0.0.0.0:17777"            # as --listen
//! node = ["10.0.0.11:51131", "..."]   # options that can be given several times are arrays
//! no-signup = true                    # options without a value are true or false
//! ```
//!
//! What the file says is put into the command line before what is given there, unless the same option is
//! given there or in the environment. So clap reads every value, wherever it comes from, in one way. Each
//! is also tried by itself first, so that a wrong one is reported with the file and the key.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, Command};
use toml::Value;

use crate::cmd::env::Env;
use crate::cmd::failure::Failure;
use crate::core::error::Code;
use crate::core::io::reason;

/// Options that are for one command line only.
const NOT_IN_A_FILE: [&str; 5] = ["config", "print-unit", "take-over", "exit-with-stdin", "help"];

/// The command line of the process with what its configuration file says, if it names one.
///
/// # Errors
/// [`Code::Usage`] if the file cannot be read, or a key or a value in it is wrong.
pub(in crate::cmd) fn with_file(
    args: Vec<OsString>,
    command: &Command,
    env: &Env,
) -> Result<Vec<OsString>, Failure> {
    let subcommand = args.get(1).and_then(|name| command.find_subcommand(name));
    let Some(subcommand) = subcommand.filter(|it| option(it, "config").is_some()) else {
        return Ok(args);
    };
    let Some(file) = named(&args) else { return Ok(args) };
    let shown = file.to_string_lossy().into_owned();
    let wrong = |why: String| Failure::new(Code::Usage, format!("{shown}: {why}"));
    let text = fs::read_to_string(env.at(Path::new(&file))).map_err(|error| {
        Failure::new(Code::Usage, format!("cannot read {shown}: {}", reason(&error)))
            .hint("--config names a file of options; see docs/operations.md")
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        wrong(format!("line {line}: {}", error.message())).hint("Correct that line, or remove it.")
    })?;
    let mut words = args[..2].to_vec();
    for (key, value) in &table {
        let found = option(subcommand, key).filter(|_| !NOT_IN_A_FILE.contains(&key.as_str()));
        let Some(found) = found else {
            let name = subcommand.get_name();
            return Err(wrong(format!("{key} is no option that a file may have")).hint(format!(
                "palk {name} --help  lists the options; keys are their names without --"
            )));
        };
        let said = words_of(found, key, value).and_then(|said| try_out(subcommand, said));
        let said = said.map_err(|why| {
            let name = subcommand.get_name();
            wrong(format!("{key}: {why}")).hint(format!("palk {name} --help  says what it may be"))
        })?;
        if !is_given(&args, key) && found.get_env().is_none_or(|name| !is_set(name, env)) {
            words.extend(said);
        }
    }
    words.extend_from_slice(&args[2..]);
    Ok(words)
}

fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|argument| argument.get_long() == Some(key))
}

/// The file that is named on the command line.
fn named(args: &[OsString]) -> Option<OsString> {
    let mut args = args.iter();
    while let Some(word) = args.next() {
        if word == "--config" {
            return args.next().cloned();
        }
        if let Some(file) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    None
}

fn is_given(args: &[OsString], key: &str) -> bool {
    let is = |word: &str| {
        let rest = word.strip_prefix("--").and_then(|word| word.strip_prefix(key));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    args.iter().any(|word| is(&word.to_string_lossy()))
}

fn is_set(name: &OsStr, env: &Env) -> bool {
    name.to_str().is_some_and(|name| env.variable(name).is_some())
}

/// What a key and its value are on a command line.
fn words_of(option: &Arg, key: &str, value: &Value) -> Result<Vec<OsString>, String> {
    let takes_none = option.get_num_args().is_some_and(|count| count.min_values() == 0);
    let may_repeat = matches!(option.get_action(), ArgAction::Append);
    let with = |value: &dyn std::fmt::Display| OsString::from(format!("--{key}={value}"));
    let one = |value: &Value| match value {
        Value::String(text) => Ok(with(text)),
        Value::Integer(number) => Ok(with(number)),
        _ => Err(format!("a text or a number is needed, not {}", value.type_str())),
    };
    match (option.get_action(), value) {
        (ArgAction::SetTrue, Value::Boolean(is_on)) => {
            Ok(is_on.then(|| format!("--{key}").into()).into_iter().collect())
        }
        (ArgAction::SetTrue, _) => {
            Err(format!("true or false is needed, not {}", value.type_str()))
        }
        (_, Value::Boolean(is_on)) if takes_none => {
            Ok(is_on.then(|| format!("--{key}").into()).into_iter().collect())
        }
        (_, Value::Array(values)) if may_repeat => values.iter().map(one).collect(),
        (_, value) => one(value).map(|word| vec![word]),
    }
}

/// Lets clap read an option alone, and gives the reason if its value is wrong.
fn try_out(command: &Command, words: Vec<OsString>) -> Result<Vec<OsString>, String> {
    let line = std::iter::once(OsString::from("palk")).chain(words.clone());
    // What is wrong in the environment is not this key's fault.
    let mut command = command.clone().mut_args(|argument| argument.env(None));
    let Err(error) = command.try_get_matches_from_mut(line) else { return Ok(words) };
    match error.kind() {
        // Other options are missing here, which may be given elsewhere.
        ErrorKind::MissingRequiredArgument => Ok(words),
        _ => Err(why(&error)),
    }
}

fn why(error: &clap::Error) -> String {
    let value = error.get(ContextKind::InvalidValue);
    let value = value.map_or(String::new(), |value| format!("{:?}", value.to_string()));
    let reason = match (error.source(), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(valid)) => format!("it can be {valid}"),
        (None, None) => error.kind().to_string(),
    };
    format!("{value} is wrong: {reason}").trim_start().to_owned()
}

//! What the checks found, line by line, and what it comes to.

use serde_json::json;

use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::cmd::status::counted;
use crate::core::path::printable;
use crate::core::status::State;

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// It is as it should be.
    Ok,
    /// It may go wrong.
    Risk,
    /// It is wrong, and nothing is kept from working by it yet.
    Degraded,
    /// Something does not work; every file can be read.
    Fail,
    /// Files cannot be reached.
    Unavailable,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Ok => "OK",
            Level::Risk | Level::Degraded => "WARN",
            Level::Fail | Level::Unavailable => "FAIL",
        }
    }

    /// How the whole is, if this is the worst of it.
    fn state(self) -> State {
        match self {
            Level::Ok | Level::Risk => State::Healthy,
            Level::Degraded | Level::Fail => State::Degraded,
            Level::Unavailable => State::Unavailable,
        }
    }
}

/// Prints each finding as it comes.
pub(super) struct Report<'a> {
    env: &'a mut Env,
    state: State,
    /// How many lines of each word.
    counts: [u64; 3],
}

const WORDS: [&str; 3] = ["OK", "WARN", "FAIL"];

/// The columns before a text.
const INDENT: usize = 19;

impl Report<'_> {
    pub(super) fn new(env: &mut Env) -> Report<'_> {
        Report { env, state: State::Healthy, counts: [0; 3] }
    }

    pub(super) fn env(&mut self) -> &mut Env {
        self.env
    }

    /// What is as it should be.
    pub(super) fn ok(&mut self, check: &str, text: impl AsRef<str>) -> Result<(), Stop> {
        self.line(check, Level::Ok, text.as_ref(), None)
    }

    /// What is not, and what to do about it.
    pub(super) fn found(
        &mut self,
        check: &str,
        level: Level,
        text: impl AsRef<str>,
        fix: impl AsRef<str>,
    ) -> Result<(), Stop> {
        self.line(check, level, text.as_ref(), Some(fix.as_ref()))
    }

    fn line(
        &mut self,
        check: &str,
        level: Level,
        text: &str,
        fix: Option<&str>,
    ) -> Result<(), Stop> {
        let state = level.state();
        if state.exit_status() > self.state.exit_status() {
            self.state = state;
        }
        let word = level.word();
        for (count, _) in self.counts.iter_mut().zip(WORDS).filter(|(_, known)| *known == word) {
            *count += 1;
        }
        if self.env.manner().json {
            let mut object = json!({"check": check, "level": word.to_lowercase(), "text": text});
            if let Some(fix) = fix {
                object["fix"] = fix.into();
            }
            return self.env.json("check", object);
        }
        self.env.data(&format!("{word:<5} {check:<12} {}", indented(text)))?;
        if let Some(fix) = fix {
            self.env.data(&format!("{:INDENT$}fix: {}", "", indented(fix)))?;
        }
        self.env.flush()
    }

    /// Prints what it all comes to.
    ///
    /// # Errors
    /// The state as an exit status, unless nothing is degraded; those of printing.
    pub(super) fn finish(self) -> Result<(), Stop> {
        let Report { env, state, counts: [ok, warn, fail] } = self;
        let code = state.exit_status();
        if env.manner().json {
            let object =
                json!({"code": code, "state": state, "ok": ok, "warn": warn, "fail": fail});
            env.json("result", object)?;
        } else {
            let verdict = match (state, warn) {
                (State::Healthy, 0) => "All is well".to_owned(),
                (State::Healthy, _) => "Nothing is degraded".to_owned(),
                (State::Degraded, _) => "Something is degraded".to_owned(),
                (State::Unavailable, _) => "Files cannot be reached".to_owned(),
            };
            env.data(&format!(
                "{verdict}: {}, {warn} WARN, {fail} FAIL",
                counted(ok + warn + fail, "check")
            ))?;
        }
        env.flush()?;
        if code == 0 { Ok(()) } else { Err(Stop::Ended(code)) }
    }
}

/// A text that may have several lines, safe to print.
fn indented(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(printable).collect();
    lines.join(&format!("\n{:INDENT$}", ""))
}

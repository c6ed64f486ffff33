//! How a verb of several files went: each is told as it ends, and the last line is the whole.

use serde_json::{Value, json};

use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;

/// Counts what was asked, done and failed.
pub(super) struct Tally {
    asked: usize,
    done: usize,
    failed: usize,
}

impl Tally {
    pub(super) fn new(asked: usize) -> Tally {
        Tally { asked, done: 0, failed: 0 }
    }

    /// Tells that one is done. A single one's object is the result itself.
    ///
    /// # Errors
    /// Those of printing.
    pub(super) fn done(
        &mut self,
        env: &mut Env,
        lines: &[String],
        object: Value,
    ) -> Result<(), Stop> {
        self.done += 1;
        if env.manner().json {
            return env.json(if self.asked == 1 { "result" } else { "item" }, object);
        }
        lines.iter().for_each(|line| env.note(line));
        Ok(())
    }

    /// Takes note of one that failed: a single one's failure is the verb's.
    ///
    /// # Errors
    /// That failure, or those of printing.
    pub(super) fn failed(&mut self, env: &mut Env, path: &str, why: Failure) -> Result<(), Stop> {
        self.failed += 1;
        // An interruption is no matter of this one file.
        if self.asked == 1 || why.code == Code::Interrupted {
            return Err(why.into());
        }
        if env.manner().json {
            let code = why.code.exit_status();
            return env.json("item", json!({"code": code, "path": path, "message": why.text}));
        }
        env.tell(&why);
        Ok(())
    }

    /// The end of the verb.
    ///
    /// # Errors
    /// [`Code::SomeFailed`] if not all was done.
    pub(super) fn finish(self, env: &mut Env) -> Result<(), Stop> {
        let Tally { asked, done, failed } = self;
        if failed > 0 {
            let text = format!("{failed} of {asked} failed, {done} done");
            return Err(Failure::new(Code::SomeFailed, text)
                .hint("The lines above say why.")
                .into());
        }
        if env.manner().json && asked != 1 {
            return env.json("result", json!({"code": 0, "done": done, "failed": 0}));
        }
        Ok(())
    }
}

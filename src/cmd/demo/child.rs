//! A process of the demo: a node or the server, the same binary as the demo itself.
//!
//! Its standard input is a pipe that only the demo holds, and it ends when that ends: nothing
//! outlives the demo, not even if the demo is killed. It has a process group of its own, so that
//! Ctrl-C on the terminal is the demo's alone. Its log goes to a file, since a pipe that nobody
//! reads any more would hold it up.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cmd::failure::Failure;
use crate::core::error::Code;
use crate::core::io::reason;
use crate::core::path::printable;

/// How long a process has to end in its own order before it is killed.
const ORDERLY: Duration = Duration::from_secs(5);

/// How much of a log is shown when something went wrong.
const LAST_LINES: usize = 5;

/// A running process.
pub(super) struct Child {
    process: process::Child,
    log: PathBuf,
    /// Where its log begins: the file may have that of an earlier process of the same name.
    log_begin: u64,
}

impl Child {
    /// Starts a process.
    ///
    /// # Errors
    /// If the system cannot.
    pub(super) fn start(mut command: Command, log: &Path) -> Result<Child, Failure> {
        let failed = |what: String, error: &std::io::Error| {
            Failure::new(Code::Unexpected, format!("{what}: {}", reason(error)))
        };
        let file = OpenOptions::new().append(true).create(true).open(log);
        let file =
            file.map_err(|error| failed(format!("cannot write {}", log.display()), &error))?;
        let log_begin = size(log);
        command.arg("--exit-with-stdin").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(file);
        for (name, _) in std::env::vars_os() {
            // What the user has set for processes of their own.
            if name.as_encoded_bytes().starts_with(b"PALK_") {
                command.env_remove(name);
            }
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let process = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            failed(format!("cannot start {program}"), &error)
        })?;
        Ok(Child { process, log: log.to_owned(), log_begin })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// Its log as far as it has got.
    pub(super) fn log(&self) -> String {
        log_from(&self.log, self.log_begin)
    }

    /// Its last words, ready to be shown under an error.
    pub(super) fn last_words(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LAST_LINES)..].iter();
        let last: Vec<String> = last.map(|line| format!("\n    {}", printable(line))).collect();
        if last.is_empty() {
            return "its log is empty".to_owned();
        }
        format!("its log ends with:{}", last.concat())
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Lets it finish what it is doing; kills it if that takes too long.
    pub(super) fn finish(&mut self) {
        drop(self.process.stdin.take());
        let begun = Instant::now();
        while self.ended().is_none() && begun.elapsed() < ORDERLY {
            thread::sleep(Duration::from_millis(5));
        }
        self.kill();
    }
}

/// A log from an offset on; what cannot be read is empty.
pub(super) fn log_from(path: &Path, begin: u64) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(begin))?;
        file.read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// How long a log is.
pub(super) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

//! The only door to the terminal: what is printed, asked and shown, and where.
//!
//! Data goes to standard output, everything else to standard error. An [`Env`] also carries what
//! else a process gets from outside (arguments, variables, the current folder), so that a test can
//! run a whole command without a process: see `Env::fake`.

mod display;
mod editor;
mod hangup;
mod interrupt;
mod patient;
mod progress;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufWriter, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::json;

use self::editor::{Editor, Line};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::io::reason;

pub use display::Display;
pub use editor::{Completions, StoredNames};
pub use hangup::Hangups;
pub use interrupt::{Interrupts, Temporary};
pub use patient::Patient;
pub use progress::{
    Bar, ETA_HIDDEN, Meter, Reached, beginning, duration, part, plural, shown_rate, size,
};

/// What a command was told about how to speak.
#[derive(Clone, Copy, Default, Debug)]
pub struct Manner {
    /// Only data and errors.
    pub quiet: bool,
    /// Details too.
    pub verbose: bool,
    /// One JSON object a line on standard output.
    pub json: bool,
    /// Never ask.
    pub no_input: bool,
}

/// What a line that is asked for is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A command: completed by Tab, remembered.
    Command,
    /// An answer: neither.
    Answer,
    /// An answer that stays off the screen.
    Secret,
}

#[derive(Clone, Copy, Debug)]
struct Terminals {
    input: bool,
    out: bool,
    err: bool,
}

/// Where text goes. Clones write to the same place.
#[derive(Clone)]
struct Screen(Rc<RefCell<dyn Write>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// Standard output for a file's bytes. It is flushed when its reader has taken them.
struct Bytes {
    out: Screen,
    patient: Option<Rc<RefCell<Patient>>>,
}

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.patient.as_ref().map_or(Ok(()), |patient| patient.borrow_mut().settle())
    }
}

/// Where standard output goes if it is no terminal: nobody waits there for what is shown, and its reader
/// may pause.
fn patient_out() -> io::Result<Patient> {
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    Ok(Patient::new(out))
}

/// The world around a command.
pub struct Env {
    args: Vec<OsString>,
    variables: HashMap<OsString, OsString>,
    folder: PathBuf,
    input: Box<dyn BufRead>,
    out: Screen,
    /// What `out` hands on to, unless that is a terminal.
    patient: Option<Rc<RefCell<Patient>>>,
    err: Screen,
    terminals: Terminals,
    manner: Manner,
    editor: Option<Editor>,
    completions: Completions,
    interrupts: Interrupts,
    meter: Option<Meter>,
    /// False in a test, whose process is not the command's own.
    is_process: bool,
}

impl Env {
    /// That of this process.
    pub fn real() -> Env {
        // A closed standard output cannot be copied; writing to it says so.
        let patient = match io::stdout().is_terminal() {
            true => None,
            false => patient_out().ok().map(|patient| Rc::new(RefCell::new(patient))),
        };
        let out: Rc<RefCell<dyn Write>> = match &patient {
            Some(patient) => patient.clone(),
            None => Rc::new(RefCell::new(io::stdout())),
        };
        Env {
            args: std::env::args_os().collect(),
            variables: std::env::vars_os().collect(),
            folder: PathBuf::new(),
            input: Box::new(io::stdin().lock()),
            out: Screen(Rc::new(RefCell::new(BufWriter::with_capacity(64 * 1024, Screen(out))))),
            patient,
            err: Screen(Rc::new(RefCell::new(io::stderr()))),
            terminals: Terminals {
                input: io::stdin().is_terminal(),
                out: io::stdout().is_terminal(),
                err: io::stderr().is_terminal(),
            },
            manner: Manner::default(),
            editor: None,
            completions: Completions::default(),
            interrupts: Interrupts::default(),
            meter: None,
            is_process: true,
        }
    }

    /// The command line, the program's name first.
    pub fn args(&self) -> Vec<OsString> {
        self.args.clone()
    }

    /// An environment variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<OsString> {
        self.variables.get(OsStr::new(name)).filter(|value| !value.is_empty()).cloned()
    }

    /// A path as seen from the current folder.
    pub fn at(&self, path: &Path) -> PathBuf {
        if self.folder.as_os_str().is_empty() { path.into() } else { self.folder.join(path) }
    }

    /// From here on Ctrl-C (and SIGTERM) removes what is registered and ends the process, status
    /// 130. For commands that end by themselves; one that serves has its own way to stop.
    pub fn end_on_interrupt(&self) {
        if self.is_process {
            self.interrupts.catch();
        }
    }

    /// What Ctrl-C has to clean up.
    pub fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// How the command was told to speak.
    pub fn manner(&self) -> Manner {
        self.manner
    }

    /// Sets how to speak from now on.
    pub fn set_manner(&mut self, manner: Manner) {
        if manner.json {
            self.interrupts.tell_as_json();
        }
        self.manner = manner;
    }

    /// Is standard input a terminal?
    pub fn input_is_terminal(&self) -> bool {
        self.terminals.input
    }

    /// May the user be asked?
    pub fn can_ask(&self) -> bool {
        self.terminals.input && self.terminals.err && !self.manner.no_input
    }

    /// Is somebody sitting in front of it, who reads and can answer?
    pub fn is_attended(&self) -> bool {
        self.can_ask() && self.terminals.out
    }

    /// Standard output, for a file's bytes. Flushing it waits until they are taken.
    pub fn out(&self) -> impl Write + use<> {
        Bytes { out: self.out.clone(), patient: self.patient.clone() }
    }

    /// Standard input, for a file's bytes.
    pub fn input(&mut self) -> &mut dyn BufRead {
        &mut self.input
    }

    /// Reads standard input to its end and drops it, in a thread of its own; the channel closes at
    /// the end. For a program that runs as long as whoever started it.
    pub fn end_of_input(&mut self) -> Receiver<()> {
        let (open, ended) = bounded(0);
        let mut input: Box<dyn BufRead> = Box::new(io::empty());
        std::mem::swap(&mut input, &mut self.input);
        // The lock on it belongs to this thread; the other one takes its own.
        drop(input);
        thread::spawn(move || {
            let _open: Sender<()> = open;
            // An error is an end as well.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        });
        ended
    }

    /// A line of data.
    ///
    /// # Errors
    /// [`Stop::ReaderGone`], or that of a full disk.
    pub fn data(&mut self, line: &str) -> Result<(), Stop> {
        self.print(line, "\n")
    }

    /// Data without an end of line, shown at once.
    ///
    /// # Errors
    /// As [`Env::data`].
    pub fn prompt(&mut self, text: &str) -> Result<(), Stop> {
        self.print(text, "").and_then(|()| self.flush())
    }

    /// A line of JSON, with its version.
    ///
    /// # Errors
    /// As [`Env::data`].
    pub fn json(&mut self, kind: &str, object: serde_json::Value) -> Result<(), Stop> {
        self.json_row(kind, object).and_then(|()| self.flush())
    }

    /// The same for one of many, which are shown together.
    ///
    /// # Errors
    /// As [`Env::data`].
    pub fn json_row(&mut self, kind: &str, mut object: serde_json::Value) -> Result<(), Stop> {
        object["v"] = json!(1);
        object["type"] = json!(kind);
        self.data(&object.to_string())
    }

    fn print(&mut self, text: &str, end: &str) -> Result<(), Stop> {
        self.interrupts.hold_if_ending();
        let written = write!(self.out, "{text}{end}");
        written.map_err(|error| self.output_failed(&error))?;
        if self.terminals.out { self.flush() } else { Ok(()) }
    }

    /// Shows what was printed so far. A reader that is no person may take it later.
    ///
    /// # Errors
    /// As [`Env::data`].
    pub fn flush(&mut self) -> Result<(), Stop> {
        let flushed = self.out.flush();
        flushed.map_err(|error| self.output_failed(&error))
    }

    /// Waits until what was printed so far is taken.
    fn settle(&mut self) -> io::Result<()> {
        self.out().flush()
    }

    fn output_failed(&self, error: &io::Error) -> Stop {
        let has_hung_up = self.terminals.out && is_hang_up(error);
        if has_hung_up || error.kind() == ErrorKind::BrokenPipe {
            return Stop::ReaderGone;
        }
        let text = format!("cannot write to standard output: {}", reason(error));
        let hint = "What was printed is not complete. Check where it goes to, then try again.";
        Failure::new(Code::LocalFile, text).hint(hint).into()
    }

    /// A line for the user, unless `-q` or `--json`.
    pub fn note(&mut self, line: &str) {
        // What could not be printed is a failure, which nothing must contradict; it is told at the end.
        if !self.manner.quiet && !self.manner.json && self.settle().is_ok() {
            self.say(line);
        }
    }

    /// A line for the user with `-v`.
    pub fn detail(&mut self, line: &str) {
        if self.manner.verbose {
            self.note(line);
        }
    }

    /// A failure, for people: what and why, then what to do.
    pub fn tell(&mut self, failure: &Failure) {
        let colour = self.terminals.err
            && self.variable("NO_COLOR").is_none()
            && self.variable("TERM").is_none_or(|term| term != "dumb");
        let error = if colour { "\x1b[1;31merror:\x1b[0m" } else { "error:" };
        self.say(&format!("{error} {}", failure.text));
        if let Some(hint) = &failure.hint {
            self.say(&format!("  {hint}"));
        }
    }

    /// To standard error, after what standard output has. A standard error that is closed is
    /// nobody's failure: there is no one to tell.
    fn say(&mut self, line: &str) {
        self.interrupts.hold_if_ending();
        let _ = self.settle();
        let _ = writeln!(self.err, "{line}");
    }

    /// Shows a transfer's progress until the bar is dropped.
    pub fn bar(&self, label: &str, total: u64) -> Bar {
        Bar::new(self, label, total)
    }

    /// From now on tells the meter of all bytes that transfers move, whether progress is shown or not.
    pub fn set_meter(&mut self, meter: Meter) {
        self.meter = Some(meter);
    }

    /// Shows how far work on the server is until the bar is dropped; nothing with `--json`.
    pub fn work_bar(&self, label: &str) -> Bar {
        Bar::of_work(self, label)
    }

    /// Prints what clap has to say: help and version are data, a usage error is a failure.
    ///
    /// # Errors
    /// The usage error, told already.
    pub fn usage(&mut self, usage: &clap::Error) -> Result<(), Stop> {
        let plain = usage.render();
        if !usage.use_stderr() {
            let colour = self.terminals.out && self.variable("NO_COLOR").is_none();
            let text = if colour { plain.ansi().to_string() } else { plain.to_string() };
            return self.prompt(&text);
        }
        if self.args.iter().any(|arg| arg == "--json") {
            let text = plain.to_string();
            let lines = text.trim_start_matches("error: ").lines().map(str::trim);
            let said: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
            let failure = Failure::new(Code::Usage, said.join(" "));
            self.json_failure(&failure)?;
        } else {
            let colour = self.terminals.err && self.variable("NO_COLOR").is_none();
            let text = if colour { plain.ansi().to_string() } else { plain.to_string() };
            self.say(text.trim_end());
        }
        Err(Stop::Told(Code::Usage))
    }

    fn json_failure(&mut self, failure: &Failure) -> Result<(), Stop> {
        let code = failure.code.exit_status();
        let mut object = json!({"code": code, "message": failure.text});
        if let Some(hint) = &failure.hint {
            object["hint"] = json!(hint);
        }
        self.json("error", object)
    }

    /// Tells how a command ended, where that has not been done, and gives the exit status.
    pub fn finish(&mut self, result: Result<(), Stop>) -> u8 {
        let settled = self.settle().map_err(|error| self.output_failed(&error));
        match result.and(settled) {
            Ok(()) | Err(Stop::ReaderGone) => 0,
            Err(Stop::Told(code)) => code.exit_status(),
            Err(Stop::Ended(status)) => status,
            Err(Stop::Failed(failure)) => {
                let code = failure.code.exit_status();
                let failure = failure.with_usual_advice();
                if self.manner.json {
                    // Nobody reads it: then the status alone says it.
                    let _ = self.json_failure(&failure);
                    let _ = self.settle();
                } else if failure.code == Code::Interrupted {
                    self.say(&failure.text); // the user knows: it is no error
                } else {
                    self.tell(&failure);
                }
                code
            }
        }
    }

    /// What Tab is to know from now on.
    pub fn set_completions(&mut self, completions: Completions) {
        if let Some(editor) = &mut self.editor {
            editor.set_completions(completions.clone());
        }
        self.completions = completions;
    }

    /// Asks for a line in a session: with an editor on a terminal, else from standard input, the
    /// line then being repeated after its prompt so that a transcript can be read. Nothing at the
    /// end of the input, or when the user leaves by Ctrl-C.
    ///
    /// # Errors
    /// [`Code::Usage`] for input that is not text; those of [`Env::data`].
    pub fn line(&mut self, prompt: &str, asked: Asked) -> Result<Option<String>, Stop> {
        if !self.terminals.input {
            self.prompt(prompt)?;
            let line = self.read_line()?;
            let shown = if asked == Asked::Secret { None } else { line.as_deref() };
            self.data(&crate::core::path::printable(shown.unwrap_or_default()))?;
            return Ok(line);
        }
        loop {
            let line = if asked == Asked::Secret || !self.terminals.out {
                self.plain_line(prompt, asked)?
            } else {
                self.flush()?;
                self.edit_line(prompt, asked == Asked::Command)?
            };
            match line {
                Line::Text(text) => return Ok(Some(text)),
                Line::Left => return Ok(None),
                Line::Garbled => {
                    let text = "this is not UTF-8 text, and was not taken";
                    let hint = "What was typed after it was not taken either.";
                    self.tell(&Failure::new(Code::Usage, text).hint(hint));
                }
            }
        }
    }

    /// A line of the terminal without an editor.
    fn plain_line(&mut self, prompt: &str, asked: Asked) -> Result<Line, Stop> {
        self.prompt(prompt)?;
        let line = match asked {
            Asked::Secret => {
                // What was typed ahead was shown on the screen, or meant for something else.
                if let Some(editor) = &mut self.editor {
                    editor.forget_typed_ahead();
                }
                self.interrupts.while_asking(rpassword::read_password).map(Some)
            }
            _ => self.next_line(),
        };
        match line {
            Ok(Some(text)) => Ok(Line::Text(text)),
            Err(error) if error.kind() == ErrorKind::InvalidData => Ok(Line::Garbled),
            Err(error) if !has_left(&error) => Err(input_failed(&error)),
            Ok(None) | Err(_) => {
                self.data("")?; // Enter has ended the line in all other cases
                Ok(Line::Left)
            }
        }
    }

    fn edit_line(&mut self, prompt: &str, command: bool) -> Result<Line, Stop> {
        let failed = |error: rustyline::error::ReadlineError| {
            Failure::new(Code::LocalFile, format!("cannot read from the terminal: {error}"))
                .hint("Begin the session again.")
        };
        let editor = match &mut self.editor {
            Some(editor) => editor,
            none => none.insert(Editor::new(self.completions.clone()).map_err(failed)?),
        };
        if let Some(line) = editor.next_pasted() {
            self.data(&crate::core::path::printable(&format!("{prompt}{line}")))?;
            return Ok(Line::Text(line));
        }
        let mut line = Ok(Line::Left);
        let read = self.interrupts.while_asking(|| {
            line = editor.read(prompt, command);
            Ok(())
        });
        read.map_err(|error| input_failed(&error))?;
        Ok(line.map_err(failed)?)
    }

    /// Asks for a line in a one-shot command, by standard error.
    ///
    /// # Errors
    /// [`Code::Interrupted`] if the user leaves instead; those of [`Env::line`].
    pub fn ask(&mut self, prompt: &str, asked: Asked) -> Result<String, Stop> {
        let _ = write!(self.err, "{prompt}").and_then(|()| self.err.flush());
        let line = if asked == Asked::Secret { self.read_secret()? } else { self.read_line()? };
        if line.is_none() {
            self.say("");
        }
        Ok(line.ok_or_else(|| Failure::new(Code::Interrupted, "interrupted"))?)
    }

    /// The next line of standard input without its end; nothing at the end of the input.
    ///
    /// # Errors
    /// As [`Env::line`].
    pub fn read_line(&mut self) -> Result<Option<String>, Stop> {
        self.next_line().map_err(|error| input_failed(&error))
    }

    /// As [`Env::read_line`]; a line that is no text is used up.
    fn next_line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.input.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData)?;
        let text = line.strip_suffix('\n').unwrap_or(&line);
        Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
    }

    fn read_secret(&mut self) -> Result<Option<String>, Stop> {
        match self.interrupts.while_asking(rpassword::read_password) {
            Ok(secret) => Ok(Some(secret)),
            Err(error) if has_left(&error) => Ok(None),
            Err(error) => Err(input_failed(&error)),
        }
    }
}

/// Is this what reading a password gives when the user has left?
fn has_left(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::UnexpectedEof)
}

/// Is this what reading or writing a terminal gives that has gone? (Elsewhere it is a broken disk.)
fn is_hang_up(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    cfg!(unix) && error.raw_os_error() == Some(EIO)
}

fn input_failed(error: &io::Error) -> Stop {
    if error.kind() == ErrorKind::InvalidData {
        let failure = Failure::new(Code::Usage, "standard input is not UTF-8 text");
        return failure.hint("Convert it, or check that it is the right file.").into();
    }
    let text = format!("cannot read standard input: {}", reason(error));
    Failure::new(Code::LocalFile, text).hint("Check where it comes from, then try again.").into()
}

#[cfg(test)]
pub(crate) mod fake;

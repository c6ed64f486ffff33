//! The only door to the terminal: what is printed, asked and shown, and where.
//!
//! Data goes to standard output, everything else to standard error. An [`Env`] also carries what
//! else a process gets from outside (arguments, variables, the current folder), so that a test can
//! run a whole command without a process: see `Env::fake`.

mod editor;
mod interrupt;
mod progress;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufWriter, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::json;

use self::editor::{Editor, Line};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::io::reason;

pub use editor::{Completions, StoredNames};
pub use interrupt::{Interrupts, Temporary};
pub use progress::{Bar, Meter, duration, size};

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

/// The world around a command.
pub struct Env {
    args: Vec<OsString>,
    variables: HashMap<OsString, OsString>,
    folder: PathBuf,
    input: Box<dyn BufRead>,
    out: Screen,
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
        Env {
            args: std::env::args_os().collect(),
            variables: std::env::vars_os().collect(),
            folder: PathBuf::new(),
            input: Box::new(io::stdin().lock()),
            out: Screen(Rc::new(RefCell::new(BufWriter::with_capacity(64 * 1024, io::stdout())))),
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

    /// Standard output, for a file's bytes.
    pub fn out(&self) -> impl Write + use<> {
        self.out.clone()
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
    pub fn json(&mut self, kind: &str, mut object: serde_json::Value) -> Result<(), Stop> {
        object["v"] = json!(1);
        object["type"] = json!(kind);
        self.data(&object.to_string()).and_then(|()| self.flush())
    }

    fn print(&mut self, text: &str, end: &str) -> Result<(), Stop> {
        self.interrupts.hold_if_ending();
        let written = write!(self.out, "{text}{end}");
        written.map_err(|error| self.output_failed(&error))?;
        if self.terminals.out { self.flush() } else { Ok(()) }
    }

    /// Shows what was printed so far.
    ///
    /// # Errors
    /// As [`Env::data`].
    pub fn flush(&mut self) -> Result<(), Stop> {
        let flushed = self.out.flush();
        flushed.map_err(|error| self.output_failed(&error))
    }

    fn output_failed(&self, error: &io::Error) -> Stop {
        let has_hung_up = self.terminals.out && is_hang_up(error);
        if has_hung_up || error.kind() == ErrorKind::BrokenPipe {
            return Stop::ReaderGone;
        }
        let text = format!("cannot write to standard output: {}", reason(error));
        Failure::new(Code::LocalFile, text).into()
    }

    /// A line for the user, unless `-q` or `--json`.
    pub fn note(&mut self, line: &str) {
        if !self.manner.quiet && !self.manner.json {
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
        let _ = self.out.flush();
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
            let text = text.trim_start_matches("error: ").lines().next().unwrap_or_default();
            self.json("error", json!({"code": Code::Usage.exit_status(), "message": text}))?;
        } else {
            let colour = self.terminals.err && self.variable("NO_COLOR").is_none();
            let text = if colour { plain.ansi().to_string() } else { plain.to_string() };
            self.say(text.trim_end());
        }
        Err(Stop::Told(Code::Usage))
    }

    /// Tells how a command ended, where that has not been done, and gives the exit status.
    pub fn finish(&mut self, result: Result<(), Stop>) -> u8 {
        match result.and_then(|()| self.flush()) {
            Ok(()) | Err(Stop::ReaderGone) => 0,
            Err(Stop::Told(code)) => code.exit_status(),
            Err(Stop::Ended(status)) => status,
            Err(Stop::Failed(failure)) => {
                let code = failure.code.exit_status();
                if self.manner.json {
                    let mut object = json!({"code": code, "message": failure.text});
                    if let Some(hint) = &failure.hint {
                        object["hint"] = json!(hint);
                    }
                    // Nobody reads it: then the status alone says it.
                    let _ = self.json("error", object);
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
        (self.editor, self.completions) = (None, completions);
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
        if asked == Asked::Secret || !self.terminals.out {
            self.prompt(prompt)?;
            let line = if asked == Asked::Secret { self.read_secret()? } else { self.read_line()? };
            if line.is_none() {
                self.data("")?; // Enter has ended the line in all other cases
            }
            return Ok(line);
        }
        self.flush()?;
        self.edit_line(prompt, asked == Asked::Command)
    }

    fn edit_line(&mut self, prompt: &str, command: bool) -> Result<Option<String>, Stop> {
        let failed = |error: rustyline::error::ReadlineError| {
            Failure::new(Code::LocalFile, format!("cannot read from the terminal: {error}"))
        };
        let editor = match &mut self.editor {
            Some(editor) => editor,
            none => none.insert(Editor::new(self.completions.clone()).map_err(failed)?),
        };
        let mut line = Err(None);
        let read = self.interrupts.while_asking(|| {
            line = editor.read(prompt, command).map_err(Some);
            Ok(())
        });
        read.map_err(|error| input_failed(&error))?;
        match line {
            Ok(Line::Text(text)) => Ok(Some(text)),
            Ok(Line::Left) | Err(None) => Ok(None),
            Err(Some(error)) => Err(failed(error).into()),
        }
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
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(0) => Ok(None),
            Ok(_) => {
                let text = line.strip_suffix('\n').unwrap_or(&line);
                Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
            }
            Err(error) => Err(input_failed(&error)),
        }
    }

    fn read_secret(&mut self) -> Result<Option<String>, Stop> {
        match self.interrupts.while_asking(rpassword::read_password) {
            Ok(secret) => Ok(Some(secret)),
            Err(error)
                if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::UnexpectedEof) =>
            {
                Ok(None)
            }
            Err(error) => Err(input_failed(&error)),
        }
    }
}

/// Is this what reading or writing a terminal gives that has gone? (Elsewhere it is a broken disk.)
fn is_hang_up(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    cfg!(unix) && error.raw_os_error() == Some(EIO)
}

fn input_failed(error: &io::Error) -> Stop {
    if error.kind() == ErrorKind::InvalidData {
        return Failure::new(Code::Usage, "standard input is not UTF-8 text").into();
    }
    let text = format!("cannot read standard input: {}", reason(error));
    Failure::new(Code::LocalFile, text).into()
}

#[cfg(test)]
pub(crate) mod fake;

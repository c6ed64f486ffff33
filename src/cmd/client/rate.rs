//! `--rate FILE`: how fast the bytes of a command moved, as a table (.csv) or a picture (.svg).
//!
//! One recording is made of the whole command, from its first request on, however many files it
//! transfers: pauses between files are part of how fast it went. A file that is stored moves when the
//! server acknowledges it, one that is retrieved when it is written. The recording appears whole when
//! the command ends, and only if something was done.

mod picture;
mod recorder;

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use clap::Args;

use self::recorder::Recorder;
use super::advice;
use super::place::{Existing, Place};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::io::reason;

/// The option of the verbs that transfer files.
#[derive(Args, Clone, Default, Debug)]
pub(super) struct Rate {
    /// Record how fast the bytes move, in a table (.csv) or a picture (.svg); may be repeated
    #[arg(long, value_name = "FILE", value_parser = parse)]
    rate: Vec<RateFile>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct RateFile {
    path: PathBuf,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Table,
    Picture,
}

fn parse(text: &str) -> Result<RateFile, String> {
    let path = PathBuf::from(text);
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
    let form = match ending.as_deref() {
        Some("csv") => Form::Table,
        Some("svg") => Form::Picture,
        _ => return Err("it must end in .csv (a table) or .svg (a picture)".into()),
    };
    Ok(RateFile { path, form })
}

/// A recording on its way to its files.
#[derive(Debug)]
pub(super) struct Recording {
    files: Vec<(RateFile, Place)>,
    recorder: Rc<RefCell<Recorder>>,
}

impl Rate {
    /// Makes sure that the files can be written, before anything is sent. `transferred` are the local
    /// files of the command, none of which may be written over.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if one cannot be written, [`Code::Usage`] if it is one of `transferred`.
    pub(super) fn open<'a>(
        &self,
        transferred: impl Iterator<Item = &'a Path> + Clone,
        env: &Env,
    ) -> Result<Recording, Failure> {
        let mut files = Vec::new();
        for file in &self.rate {
            let path = env.at(&file.path);
            if transferred.clone().any(|other| is_same(&path, &env.at(other))) {
                let text = format!("{} is to be transferred itself", file.path.display());
                let failure = Failure::new(Code::Usage, text);
                return Err(failure.hint("Nothing was sent. Record into another file."));
            }
            let failed = |error: Error| advice::failure("cannot record the rate", &error);
            let place = Place::create(&path, false, Existing::Replaced, env.interrupts());
            let place = place.map_err(failed)?;
            files.push((file.clone(), place));
        }
        Ok(Recording { files, recorder: Rc::new(RefCell::new(Recorder::new())) })
    }
}

impl Recording {
    /// Records from now on what `env` sees of transfers.
    pub(super) fn begin(&self, env: &mut Env) {
        if self.files.is_empty() {
            return;
        }
        let (recorder, began) = (self.recorder.clone(), Instant::now());
        let meter = move |bytes| recorder.borrow_mut().piece(began.elapsed(), bytes);
        env.set_meter(Rc::new(RefCell::new(meter)));
    }

    /// Writes the files. `subject` is the name of the file, or how many there were; `done` is what was
    /// done with it: `Stored`.
    ///
    /// # Errors
    /// [`Code::LocalFile`]; the transfer itself is done then.
    pub(super) fn finish(self, subject: &str, done: &str, env: &mut Env) -> Result<(), Stop> {
        for (RateFile { path, form }, place) in self.files {
            let recorder = self.recorder.borrow();
            let text = match form {
                Form::Table => recorder.csv(),
                Form::Picture => picture::svg(&recorder, subject, done)?,
            };
            write(place, &text).map_err(|error| {
                let what = format!("{done}, but cannot record the rate");
                let failure = Failure::of(&what, &error);
                failure.hint("The transfer is done. Record the next one into another file.")
            })?;
            let path = crate::core::path::printable(&path.to_string_lossy());
            env.note(&format!("The transfer rate is recorded in {path}"));
        }
        Ok(())
    }
}

fn write(mut place: Place, text: &str) -> Result<(), Error> {
    place.write_all(text.as_bytes()).map_err(|error| {
        Error::other(Code::LocalFile, format!("cannot write it: {}", reason(&error)))
    })?;
    place.keep()
}

/// Do both paths name one file, which may not be there yet?
fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        (Err(_), Err(_)) => {
            let folder = |path: &Path| match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => fs::canonicalize(folder).ok(),
                _ => fs::canonicalize(".").ok(),
            };
            one.file_name() == other.file_name() && folder(one) == folder(other)
        }
        _ => false,
    }
}

/// What a recording of these files is about.
pub(super) fn subject(names: &[&str]) -> String {
    match names {
        [name] => (*name).to_owned(),
        names => format!("{} files", names.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_what_is_recorded() {
        assert_eq!(parse("a/b.CSV").unwrap().form, Form::Table);
        assert_eq!(parse("b.svg").unwrap().form, Form::Picture);
        for wrong in ["b", "b.png", ".csv", "csv", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_transferred_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (env, _) = Env::fake(&[], "");
        let env = env.in_folder(folder.path());
        fs::write(folder.path().join("a.csv"), "mine").unwrap();
        let rate = |text: &str| Rate { rate: vec![parse(text).unwrap()] };
        let open = |text: &str, other: &str| rate(text).open([Path::new(other)].into_iter(), &env);
        for (text, other) in [("a.csv", "./a.csv"), ("new.csv", "./new.csv")] {
            let failure = open(text, other).unwrap_err();
            assert_eq!(failure.code, Code::Usage, "{text}");
        }
        assert!(open("b.csv", "a.csv").is_ok());
        assert_eq!(open("no/where.csv", "a.csv").unwrap_err().code, Code::LocalFile);
        assert_eq!(fs::read(folder.path().join("a.csv")).unwrap(), b"mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

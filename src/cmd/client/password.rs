//! Where a password comes from without asking. Never from the command line and never from the
//! environment itself: other processes can see both.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Stdio;

use super::command::{Words, check_end};
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::io::reason;

/// What some editors put before a text. Nobody types it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// More than any password takes in UTF-16.
const WIDE_BYTES_MAX: u64 = 64 * 1024;

/// A source of the password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// The first line of a file.
    File(PathBuf),
    /// The first line of a command's output. Words are split as a shell does, but none is used.
    Command(String),
    /// The first line of standard input.
    StandardInput,
}

impl Source {
    /// Reads the password.
    ///
    /// # Errors
    /// [`Code::LocalFile`] or [`Code::Usage`] if there is none.
    pub(crate) fn read(&self, env: &mut Env) -> Result<String, Stop> {
        let password = match self {
            Source::File(path) => {
                let failed = |error: &io::Error| {
                    let text = format!(
                        "cannot read the password file {}: {}",
                        path.display(),
                        reason(error)
                    );
                    Failure::new(Code::LocalFile, text).hint("Name another with --password-file.")
                };
                let file = File::open(env.at(path)).map_err(|error| failed(&error))?;
                first_line(BufReader::new(file)).map_err(|error| failed(&error))?
            }
            Source::Command(command) => from_command(command)?,
            Source::StandardInput => env.read_line()?.unwrap_or_default(),
        };
        let password = password.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&password).to_owned();
        if password.is_empty() {
            let hint = "Nothing was sent. Check where the password comes from.";
            return Err(Failure::new(Code::Usage, "the password is empty").hint(hint).into());
        }
        Ok(password)
    }
}

fn from_command(command: &str) -> Result<String, Failure> {
    let failed = |why: String| {
        Failure::new(Code::LocalFile, format!("the password command failed: {why}"))
            .hint(format!("Run it by itself to see why:  {command}"))
    };
    let words = Words::of(command).map_err(failed)?;
    // It may ask the user: standard input and standard error stay the terminal's.
    let mut child = words.command();
    child.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let output = child.output().map_err(|error| failed(words.not_started(&error)))?;
    check_end(output.status).map_err(failed)?;
    first_line(output.stdout.as_slice()).map_err(|error| failed(reason(&error)))
}

/// The first line without its end: files and commands usually end theirs. A text in UTF-16, as some
/// systems write it, says so by its first two bytes.
fn first_line(mut input: impl BufRead) -> io::Result<String> {
    let wide: Option<fn([u8; 2]) -> u16> = match input.fill_buf()? {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    };
    let mut text = String::new();
    match wide {
        None => {
            input.read_line(&mut text)?;
        }
        Some(read) => {
            let mut bytes = Vec::new();
            input.take(WIDE_BYTES_MAX).read_to_end(&mut bytes)?;
            let units: Vec<u16> = bytes.chunks_exact(2).map(|two| read([two[0], two[1]])).collect();
            text = String::from_utf16(&units).map_err(|_| io::ErrorKind::InvalidData)?;
        }
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &Source, input: &str) -> Result<String, u8> {
        let (mut env, _) = Env::fake(&[], input);
        source.read(&mut env).map_err(|stop| env.finish(Err(stop)))
    }

    #[test]
    fn the_end_of_the_line_is_no_part_of_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a b \r\nrest\n").unwrap();
        assert_eq!(read(&Source::File(file.path().into()), ""), Ok("a b ".into()));
        assert_eq!(read(&Source::StandardInput, "x\ny"), Ok("x".into()));
        assert_eq!(read(&Source::Command("echo 'a  b'".into()), ""), Ok("a  b".into()));
    }

    #[test]
    fn a_mark_of_the_byte_order_is_no_part_of_the_password() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read_file = |bytes: &[u8]| {
            std::fs::write(file.path(), bytes).unwrap();
            read(&Source::File(file.path().into()), "")
        };
        let wide = |to: fn(u16) -> [u8; 2]| {
            "\u{feff}gr\u{fc}n\r\nrest".encode_utf16().flat_map(to).collect::<Vec<u8>>()
        };
        assert_eq!(read_file("\u{feff}gr\u{fc}n\r\n".as_bytes()), Ok("gr\u{fc}n".into()));
        assert_eq!(read_file(&wide(u16::to_le_bytes)), Ok("gr\u{fc}n".into()));
        assert_eq!(read_file(&wide(u16::to_be_bytes)), Ok("gr\u{fc}n".into()));
        assert_eq!(read(&Source::StandardInput, "\u{feff}x\n"), Ok("x".into()));
        assert_eq!(read_file("\u{feff}\n".as_bytes()), Err(2));
    }

    #[test]
    fn no_password_is_a_failure() {
        assert_eq!(read(&Source::StandardInput, ""), Err(2));
        assert_eq!(read(&Source::File("/nonexistent/file".into()), ""), Err(13));
        assert_eq!(read(&Source::Command("false".into()), ""), Err(13));
        assert_eq!(read(&Source::Command("'".into()), ""), Err(13));
    }
}

//! Editing a line on a terminal: history of commands (never of answers), Tab for verbs and for the
//! names of local files.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Helper};

use crate::core::io::terminal::drop_typed_ahead;

/// Gives what lies in a folder.
type LookUp = dyn Fn(&str) -> Vec<String>;

/// Names of stored files and folders, looked up as they are needed.
#[derive(Clone)]
pub struct StoredNames(Rc<LookUp>);

impl StoredNames {
    /// By a function that gives what lies in a folder, folders with a `/` at their end. The folder is
    /// as it was typed so far: empty, or up to its last `/`.
    pub fn new(names: impl Fn(&str) -> Vec<String> + 'static) -> StoredNames {
        StoredNames(Rc::new(names))
    }
}

impl fmt::Debug for StoredNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredNames")
    }
}

/// What Tab knows.
#[derive(Clone, Default, Debug)]
pub struct Completions {
    /// What a line may begin with.
    pub verbs: Vec<&'static str>,
    /// The verbs after which a local file is named, in lower case.
    pub local_verbs: Vec<&'static str>,
    /// Where those files are; nothing if they may be anywhere.
    pub folder: Option<PathBuf>,
    /// The verbs after which something stored is named, in lower case.
    pub stored_verbs: Vec<&'static str>,
    /// What is stored; nothing if that is not known.
    pub stored: Option<StoredNames>,
}

/// The line editor. Its history lives as long as it does, and has commands only: an answer may be
/// private, and no earlier command is an answer.
///
/// There is one for commands and answers, since what was typed or pasted beyond the end of a line waits
/// in it.
pub(super) struct Editor {
    lines: rustyline::Editor<Completions, MemHistory>,
    completions: Completions,
    /// Lines that were pasted together with the one before them.
    pasted: VecDeque<String>,
}

/// How reading a line ended.
pub(super) enum Line {
    Text(String),
    /// By Ctrl-D or Ctrl-C, or because the terminal has gone.
    Left,
    /// It was no text.
    Garbled,
}

impl Editor {
    /// An editor with this to complete from.
    pub(super) fn new(completions: Completions) -> rustyline::Result<Editor> {
        let lines = rustyline::Editor::with_history(Config::default(), MemHistory::new())?;
        Ok(Editor { lines, completions, pasted: VecDeque::new() })
    }

    /// Completes from this from now on.
    pub(super) fn set_completions(&mut self, completions: Completions) {
        self.completions = completions;
    }

    /// The next of the lines that were pasted together.
    pub(super) fn next_pasted(&mut self) -> Option<String> {
        self.pasted.pop_front()
    }

    /// Forgets what was typed ahead of a question to which nobody would have typed it.
    pub(super) fn forget_typed_ahead(&mut self) {
        self.pasted.clear();
        let history = std::mem::take(self.lines.history_mut());
        // Where it cannot be made anew it could not be made before.
        if let Ok(lines) = rustyline::Editor::with_history(Config::default(), history) {
            self.lines = lines;
        }
    }

    /// Reads a line.
    pub(super) fn read(&mut self, prompt: &str, command: bool) -> rustyline::Result<Line> {
        let line = match command {
            true => {
                self.lines.set_helper(Some(self.completions.clone()));
                self.lines.readline(prompt)
            }
            false => {
                self.lines.set_helper(None);
                let commands = std::mem::take(self.lines.history_mut());
                let line = self.lines.readline(prompt);
                *self.lines.history_mut() = commands;
                line
            }
        };
        match line {
            Ok(text) => {
                let text = self.first_of(&text);
                if command {
                    self.lines.add_history_entry(&text)?;
                }
                Ok(Line::Text(text))
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(Line::Left),
            Err(error) if has_hung_up(&error) => Ok(Line::Left),
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                self.forget_typed_ahead();
                drop_typed_ahead(std::io::stdin());
                Ok(Line::Garbled)
            }
            Err(error) => Err(error),
        }
    }

    /// The first line of a text that may have been pasted; the others wait for their turn.
    fn first_of(&mut self, text: &str) -> String {
        let mut lines = text.split('\n').map(str::to_owned);
        let first = lines.next().unwrap_or_default();
        self.pasted.extend(lines);
        // Enter has ended a line that had its end already.
        if self.pasted.back().is_some_and(String::is_empty) {
            self.pasted.pop_back();
        }
        first
    }
}

/// The terminal has gone (its window was closed): whoever was there has left.
fn has_hung_up(error: &ReadlineError) -> bool {
    match error {
        ReadlineError::Io(error) => super::is_hang_up(error),
        #[cfg(unix)]
        ReadlineError::Errno(errno) => super::is_hang_up(&std::io::Error::from(*errno)),
        _ => false,
    }
}

impl Completions {
    fn complete_word(&self, line: &str) -> (usize, Vec<String>) {
        let Some((verb, _)) = line.split_once(' ') else {
            let typed = line.to_ascii_lowercase();
            let fits = |verb: &&&str| verb.to_ascii_lowercase().starts_with(&typed);
            return (0, self.verbs.iter().filter(fits).map(|verb| format!("{verb} ")).collect());
        };
        let start = line.rfind(' ').map_or(0, |at| at + 1);
        let (verb, typed) = (verb.to_ascii_lowercase(), &line[start..]);
        let names = if self.local_verbs.contains(&verb.as_str()) {
            local_names(self.folder.as_deref(), typed)
        } else if self.stored_verbs.contains(&verb.as_str()) {
            self.stored.as_ref().map_or_else(Vec::new, |stored| stored_names(stored, typed))
        } else {
            Vec::new()
        };
        (start, names)
    }
}

/// The stored files and folders whose path begins with what was typed.
fn stored_names(stored: &StoredNames, typed: &str) -> Vec<String> {
    let (folder, begin) = typed.split_at(typed.rfind('/').map_or(0, |at| at + 1));
    let names = (stored.0)(folder).into_iter().filter(|name| name.starts_with(begin));
    names.map(|name| format!("{folder}{name}")).collect()
}

/// The local files and folders whose path begins with what was typed.
fn local_names(root: Option<&Path>, typed: &str) -> Vec<String> {
    let (prefix, begin) = typed.split_at(typed.rfind('/').map_or(0, |at| at + 1));
    let folder = match root {
        Some(root) => root.join(prefix.trim_start_matches('/')),
        None => Path::new(".").join(prefix),
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let hidden = name.starts_with('.') && !begin.starts_with('.');
            let slash = if entry.path().is_dir() { "/" } else { "" };
            (name.starts_with(begin) && !hidden).then(|| format!("{prefix}{name}{slash}"))
        })
        .collect();
    names.sort();
    names
}

impl Completer for Completions {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.complete_word(&line[..position]))
    }
}

impl Hinter for Completions {
    type Hint = String;
}
impl Highlighter for Completions {}
impl Validator for Completions {}
impl Helper for Completions {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tab_knows_verbs_and_local_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("up")).unwrap();
        fs::write(folder.path().join("up/photo.jpg"), "").unwrap();
        let completions = Completions {
            verbs: vec!["STR", "RTV", "put"],
            local_verbs: vec!["str", "put"],
            folder: Some(folder.path().into()),
            ..Completions::default()
        };
        assert_eq!(completions.complete_word("s"), (0, vec!["STR ".to_owned()]));
        assert_eq!(completions.complete_word("STR u"), (4, vec!["up/".to_owned()]));
        assert_eq!(completions.complete_word("put up/p"), (4, vec!["up/photo.jpg".to_owned()]));
        assert_eq!(completions.complete_word("RTV u"), (4, vec![]));
        let anywhere = Completions { folder: None, ..completions };
        let typed = format!("put {}/u", folder.path().display());
        assert_eq!(anywhere.complete_word(&typed), (4, vec![format!("{}p/", &typed[4..])]));
    }

    #[test]
    fn tab_knows_what_is_stored() {
        let names = StoredNames::new(|folder| {
            let names: &[&str] = if folder == "up/" { &["photo.jpg"] } else { &["up/", "uncle"] };
            names.iter().map(|name| (*name).to_owned()).collect()
        });
        let completions = Completions {
            verbs: vec!["RTV"],
            stored_verbs: vec!["rtv", "cd"],
            stored: Some(names),
            ..Completions::default()
        };
        let both = vec!["up/".to_owned(), "uncle".to_owned()];
        assert_eq!(completions.complete_word("RTV u"), (4, both));
        assert_eq!(completions.complete_word("cd up"), (3, vec!["up/".to_owned()]));
        assert_eq!(completions.complete_word("rtv up/p"), (4, vec!["up/photo.jpg".to_owned()]));
        assert_eq!(completions.complete_word("STR u"), (4, vec![]));
    }
}
